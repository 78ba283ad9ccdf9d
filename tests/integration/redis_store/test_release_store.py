"""Staged releases in the store: shares that no step exceeds, whoever carries them out."""

from mta.model.releases import StagedRelease
from mta.policy.staged_release import next_round
from mta.ports.sweeps import Allowance, MoveAnswer, PlannedMove, SweepMove
from mta.redis_store.checker import Checker
from mta.redis_store.release_store import StoredReleases
from tests.integration.redis_store.test_waiting import hold
from tests.support.stores import message

ORDER = StagedRelease(id="0000000001000-a", pause="p1", started_at=1000, by="t", count=12)


async def _held(store, count):
    """Moves that release everything that the pause holds."""
    page = await store.sweeps.first_held(0, "p1", count)
    return [PlannedMove(q.id, q.queue, "", q.record.tags, b"release", False, "", q.record, 0, raw=q.raw) for q in page]


async def test_a_round_lets_no_more_go_than_its_share(open_store):
    store = await open_store()
    releases = StoredReleases(store.link, store.lanes)
    await store.queues.accept(0, [message(due_at=1000 + n) for n in range(30)])
    await hold(store)
    first = next_round(ORDER, 0, [30], 2000)
    share = Allowance(first.round_id, 12)
    page = await _held(store, 30)
    move = SweepMove.RELEASE
    assert await store.sweeps.move(0, "p1", move, 1, page[:5], share) == (MoveAnswer.OK, 5)
    assert await store.sweeps.move(0, "p1", move, 1, page[5:], share) == (MoveAnswer.OK, 7)
    assert await store.sweeps.move(0, "p1", move, 1, page[12:], share) == (MoveAnswer.OK, 0)
    assert [await releases.released(0, first), await releases.close(0, first)] == [12, 12]

    # A larger share of the closed round, as a process would ask that was stopped meanwhile, lets nothing go.
    assert await store.sweeps.move(0, "p1", move, 1, page[12:], share._replace(share=20)) == (MoveAnswer.OK, 0)
    second = next_round(first, 2, [18], 3000)
    assert await store.sweeps.move(0, "p1", move, 1, page[12:], Allowance(second.round_id, 3)) == (MoveAnswer.OK, 3)
    assert await store.sweeps.move(0, "p1", move, 1, page[15:], share) == (MoveAnswer.OK, 0)
    assert [await releases.close(0, first), await releases.close(0, second)] == [0, 3]
    assert await releases.held(0, "p1") == 15
    report = await Checker(store.link, store.lanes).report()
    assert (report.broken, report.balanced) == ([], True)


async def test_an_order_changes_only_where_its_author_knew_it(open_store):
    releases = StoredReleases((await open_store()).link, 4)
    later = next_round(ORDER, 0, [30], 2000)
    assert await releases.change(None, ORDER)
    assert not await releases.change(None, later)
    assert await releases.change(ORDER, later)
    assert not await releases.change(ORDER, later)
    assert [await releases.get("p1"), await releases.all()] == [later, [later]]
    await releases.forget("p1")
    assert await releases.get("p1") is None
