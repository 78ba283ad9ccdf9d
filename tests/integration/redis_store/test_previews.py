"""Previews on a real store: who counts them, how long they last, and what workers have claimed."""

from collections.abc import Callable

import msgspec

from mta.model.previews import Preview, PreviewState, Tally
from mta.model.rules import NO_HEAD, Rule, Selectors
from mta.redis_store import keys
from mta.redis_store.preview_store import StoredPreviews
from tests.support.stores import QUEUE, Store, message

RULE = Rule("", Selectors(tag="red"), 554)


def preview(name: str, at: int = 10**12) -> Preview:
    return Preview(name, RULE, at)


async def test_one_process_counts_a_preview_and_another_goes_on_after_its_lease(
    open_store: Callable[..., Store],
) -> None:
    api, ours, theirs = [StoredPreviews((await open_store(node)).link) for node in ("a", "s1", "s2")]
    assert await api.ask(preview("p1"))
    assert await ours.waiting() == ["p1"]
    assert await ours.take("p1", "s1", 60.0) == preview("p1")
    assert await theirs.take("p1", "s2", 60.0) is None
    half = msgspec.structs.replace(preview("p1"), tally=Tally(seen=5, matched=2), share=0.5)
    assert await ours.save(half, "s1", 0.0)
    assert await api.get("p1") == half
    assert await theirs.take("p1", "s2", 60.0) == half, "the lease is over"
    assert not await ours.save(half, "s1", 60.0)
    done = msgspec.structs.replace(half, state=PreviewState.DONE, counted=2)
    assert await theirs.save(done, "s2", 60.0)
    assert await theirs.waiting() == []
    assert await api.get("p1") == done


async def test_previews_end_and_are_bounded(open_store: Callable[..., Store]) -> None:
    store = await open_store()
    previews = StoredPreviews(store.link)
    taken = [await previews.ask(preview(f"p{n}")) for n in range(60)]
    assert taken.count(True) == 50
    assert taken[0]
    assert not taken[59]
    assert await previews.get("p59") is None
    assert 590_000 < await store.link.command("PTTL", keys.preview_key("p0")) <= 600_000
    await store.link.command("DEL", keys.preview_key("p0"))  # its time is over
    assert await previews.take("p0", "s1", 60.0) is None
    assert len(await previews.waiting()) == 49
    assert await previews.ask(preview("later", 10**12 + 600_001)), "those before are over by then"
    assert await previews.waiting() == ["later"]


async def test_what_workers_have_claimed_is_read_with_its_queue(open_store: Callable[..., Store]) -> None:
    store = await open_store()
    await store.rules.confirm(1, NO_HEAD, (), {})
    await store.queues.accept(0, [message(tags=("red",)), message(tags=("blue",))])
    claimed = await store.claim(0)
    assert len(claimed) == 2
    assert await store.sweeps.holders(0) == [store.rules.session]
    cursor, found = await store.sweeps.scan_claimed(0, store.rules.session, 0, 100)
    assert cursor == 0
    assert {(one.queue, one.record.tags) for one in found} == {(QUEUE, ("red",)), (QUEUE, ("blue",))}


async def test_a_preview_of_another_build_is_left_to_its_processes(
    open_store: Callable[..., Store],
) -> None:
    store = await open_store()
    previews = StoredPreviews(store.link)
    assert await previews.ask(preview("new"))
    assert await previews.ask(preview("old"))
    await store.link.command("HSET", keys.preview_key("new"), "state", b"\x81\xa5shape\xa3new")
    assert await previews.waiting() == ["new", "old"]
    assert await previews.take("new", "s1", 0.001) is None
    assert await previews.get("new") is None
    assert await previews.waiting() == ["old"]
