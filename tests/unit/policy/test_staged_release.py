from hypothesis import given
from hypothesis import strategies as st

from mta.model.releases import ReleaseState, StagedRelease
from mta.policy.staged_release import allowed, next_round, shared_out

LANES = st.lists(st.integers(0, 5000), min_size=1, max_size=16)


@given(st.integers(0, 20_000), LANES)
def test_shares_add_up_to_the_room_and_exceed_no_lane(room: int, held: list[int]):
    shares = shared_out(room, held)
    assert sum(shares) == min(room, sum(held))
    assert all(0 <= share <= count for share, count in zip(shares, held, strict=True))


def test_shares_are_in_proportion():
    assert shared_out(100, [1000, 3000, 0, 0]) == (25, 75, 0, 0)
    assert shared_out(1, [5, 5]) == (1, 0)


def _order(count: int = 0, rate: float = 0.0) -> StagedRelease:
    return StagedRelease(id="0000000001000-a", pause="p", started_at=1000, by="t", count=count, rate=rate)


@given(st.integers(1, 10_000), LANES, st.data())
def test_rounds_never_let_more_go_than_the_count_and_end(count: int, held: list[int], data: st.DataObject):
    """Lanes lose held mail to others between rounds, and a round may be cut short."""
    order, waiting, gone = next_round(_order(count), 0, held, 2000), list(held), 0
    for _ in range(200):
        if order.state is not ReleaseState.RUNNING:
            break
        closed = 0
        for lane, share in enumerate(order.shares):
            waiting[lane] -= data.draw(st.integers(0, waiting[lane] // 2))
            went = min(share, waiting[lane])
            waiting[lane] -= went
            closed += went
        gone += closed
        assert gone <= count
        before = order.round_id
        order = next_round(order, closed, waiting, 3000)
        assert order.released == gone
        assert order.round_id > before or order.state is ReleaseState.DONE
    assert order.state is ReleaseState.DONE
    assert gone == count or not sum(waiting)


def test_a_rate_allows_as_many_as_its_time():
    order = _order(rate=100 / 60)
    assert [allowed(order, 1000 + ms) for ms in (-5, 0, 599, 600, 60_000)] == [0, 0, 0, 1, 100]
    after = next_round(order, 0, [500, 500], 61_000)
    assert (sum(after.shares), after.state) == (100, ReleaseState.RUNNING)
    idle = next_round(after, 100, [0, 0], 62_000)
    assert (idle.released, sum(idle.shares), idle.state) == (100, 0, ReleaseState.RUNNING)


def test_a_later_round_has_a_greater_id():
    ids = []
    order = _order(rate=1.0)
    for second in range(1, 13):
        order = next_round(order, 1, [100], 1000 + second * 1000)
        ids.append(order.round_id)
    assert ids == sorted(set(ids))
