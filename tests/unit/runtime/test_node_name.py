"""The owner of a node's name, with a store in memory and a clock that the test moves."""

import asyncio

import pytest
from msgspec.structs import replace

from mta.model.errors import SettingsError, StoreAway
from mta.ports.node_names import NodeEntry
from mta.runtime import node_name
from mta.runtime.node_name import NodeName

LEASE = 60.0


class Names:
    """One name in memory; `away`: the store does not answer."""

    def __init__(self) -> None:
        self.entry: NodeEntry | None = None
        self.away = False
        self.asked = asyncio.Event()

    async def read(self, name: str) -> tuple[bytes, NodeEntry | None]:
        self._answer()
        return repr(self.entry).encode() if self.entry else b"", self.entry

    async def write(self, name: str, seen: bytes, entry: NodeEntry | None) -> bytes | None:
        self._answer()
        if (repr(self.entry).encode() if self.entry else b"") != seen:
            return None
        self.entry = entry
        return repr(entry).encode() if entry else b""

    def _answer(self) -> None:
        self.asked.set()
        if self.away:
            raise StoreAway("away")


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    monkeypatch.setattr(node_name, "BEAT_EVERY", 0.0)
    monkeypatch.setattr(node_name, "_LOOK_EVERY", 0.0)
    return Names()


def of(names: Names, identity: str, clock: Clock) -> NodeName:
    return NodeName(names, "n1", identity, f"/data/{identity}", LEASE, "sqlite", clock)


async def looked(names: Names, times: int = 3) -> None:
    for _ in range(times):
        names.asked.clear()
        await asyncio.wait_for(names.asked.wait(), 30.0)


async def test_a_name_that_moves_is_refused_and_one_that_stands_still_is_taken_after_the_lease(names: Names):
    clock = Clock()
    await of(names, "a", clock).take(asyncio.Event())
    dead = names.entry
    taking = asyncio.create_task(of(names, "b", clock).take(asyncio.Event()))
    await looked(names)
    clock.now += LEASE
    await looked(names)
    assert names.entry == dead, "not before the lease is over"
    clock.now += 0.1
    await asyncio.wait_for(taking, 30.0)
    living = names.entry
    assert living is not None
    assert living.identity == "b"

    refusing = asyncio.create_task(of(names, "c", clock).take(asyncio.Event()))
    await looked(names)
    names.entry = NodeEntry(living.identity, living.run, living.beat + 1, living.host, living.data_dir, living.pid)
    with pytest.raises(SettingsError, match=r"^node.name: another node called 'n1' .* data in /data/b\) is running"):
        await asyncio.wait_for(refusing, 30.0)


async def test_of_two_nodes_that_start_together_one_has_the_name(names: Names):
    both = [of(names, identity, Clock()) for identity in "ab"]
    stop = asyncio.Event()
    taking = [asyncio.create_task(one.take(stop)) for one in both]
    await asyncio.wait(taking, return_when=asyncio.FIRST_COMPLETED)
    await looked(names)
    assert [task.done() for task in taking].count(True) == 1
    stop.set()
    await asyncio.gather(*taking, return_exceptions=True)


async def test_an_entry_that_cannot_be_read_is_waited_for_like_any_other(names: Names):
    clock = Clock()
    await of(names, "a", clock).take(asyncio.Event())
    unreadable = names.entry

    async def read(name: str) -> tuple[bytes, NodeEntry | None]:
        raw, entry = await Names.read(names, name)
        return raw, None if entry == unreadable else entry

    names.read = read  # type: ignore[method-assign]
    taking = asyncio.create_task(of(names, "b", clock).take(asyncio.Event()))
    await looked(names)
    clock.now += LEASE + 1
    await asyncio.wait_for(taking, 30.0)


async def test_a_stop_ends_the_wait(names: Names):
    await of(names, "a", Clock()).take(asyncio.Event())
    stop = asyncio.Event()
    taking = asyncio.create_task(of(names, "b", Clock()).take(stop))
    await looked(names)
    stop.set()
    with pytest.raises(SettingsError, match="stopped"):
        await asyncio.wait_for(taking, 30.0)


@pytest.mark.parametrize("fault", ["emptied", "went back", "away"])
async def test_what_the_store_forgets_or_keeps_to_itself_ends_no_node(names: Names, fault: str):
    clock = Clock()
    holder = of(names, "a", clock)
    await holder.take(asyncio.Event())
    first = names.entry
    holding = asyncio.create_task(holder.hold())
    await looked(names)
    names.entry = {"emptied": None, "went back": first, "away": names.entry}[fault]
    names.away = fault == "away"
    clock.now += LEASE + 1
    await looked(names, 5)
    names.away = False
    before = names.entry
    await looked(names, 5)
    assert not holding.done()
    assert names.entry is not None
    assert first is not None
    assert names.entry.run == first.run
    assert names.entry != before
    holding.cancel()


@pytest.mark.parametrize("identity", ["b", "a"])
async def test_a_node_ends_when_it_sees_another_one_live_under_its_name(names: Names, identity: str):
    holder = of(names, "a", Clock())
    await holder.take(asyncio.Event())
    holding = asyncio.create_task(holder.hold())
    other = NodeEntry(identity, "other", 1, "h", "/copy", 7)
    names.entry = other
    await looked(names, 5)
    assert not holding.done(), "it may be dead"
    names.entry = NodeEntry(identity, "other", 2, "h", "/copy", 7)
    lost = await asyncio.wait_for(holding, 30.0)
    assert lost == "node.name: another node called 'n1' (host h, process 7, data in /copy) runs, too; this node ends"
    await holder.leave()
    assert names.entry is not None, "the name is the other's"


async def test_a_name_is_taken_back_from_a_node_that_does_not_live(names: Names):
    clock = Clock()
    holder = of(names, "a", clock)
    await holder.take(asyncio.Event())
    holding = asyncio.create_task(holder.hold())
    names.entry = NodeEntry("b", "dead", 1, "h", "/d", 7)
    await looked(names, 5)
    clock.now += LEASE + 1
    await looked(names, 5)
    assert names.entry.identity == "a"
    holding.cancel()
    await asyncio.gather(holding, return_exceptions=True)
    await holder.leave()
    assert names.entry is None


async def test_a_node_leaves_its_name_also_where_the_answer_to_its_last_beat_was_lost(names: Names):
    holder = of(names, "a", Clock())
    await holder.take(asyncio.Event())
    assert names.entry is not None
    names.entry = replace(names.entry, beat=names.entry.beat + 1)
    await holder.leave()
    assert names.entry is None
