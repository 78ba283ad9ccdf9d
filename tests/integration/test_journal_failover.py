"""A replica is promoted that lacks events which the journal had read: a new epoch, a Gap, and nothing passed over."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from mta.journal.journal import Journal
from mta.model.event_settings import JournalSettings
from mta.model.settings import RedisSettings
from mta.redis_store import keys
from mta.redis_store.cluster_settings import ClusterSettings
from mta.redis_store.link import Link
from mta.spool_files.spool import FileSpool
from tests.support.eventually import eventually
from tests.support.journal import Sink, Tail
from tests.support.moving_address import MovingAddress
from tests.support.stores import Store, message
from tests.support.valkey import Valkey


class Place:
    """A primary, its replica, and a journal that reaches whichever the address leads to."""

    def __init__(self, folder: Path, primary: Valkey, replica: Valkey, address: MovingAddress) -> None:
        self.primary, self.replica, self.address = primary, replica, address
        self.sink = Sink()
        self._folder = folder
        self._ends = contextlib.AsyncExitStack()

    async def store(self, port: int) -> Store:
        link = Link(f"redis://127.0.0.1:{port}", RedisSettings(timeout=5.0))
        self._ends.push_async_callback(link.close)
        await link.open()
        cluster = ClusterSettings(link)
        await cluster.open(5.0, 4)
        return Store(link, "n1", cluster)

    async def start(self) -> None:
        self.mail = await self.store(self.address.port)
        outbox = (await self.store(self.address.port)).outbox
        spool = FileSpool(str(self._folder / "spool"), 2**30)
        self.journal = Journal(outbox, spool, {"log": self.sink}, Tail(), "j1", "n1", JournalSettings())
        self.journal.start()

    async def stop(self) -> None:
        await self.journal.stop()
        await self._ends.aclose()

    async def accept(self, store: Store, count: int, lane: int = 0) -> None:
        for _ in range(count):
            await store.queues.accept(lane, [message(lane)])

    def of(self, kind: str) -> list[str]:
        """Ids in the log: `gap`, or lane and epoch."""
        return [one for one in self.sink.ids if one.startswith(f"{kind}.")]


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    primary, replica = Valkey(tmp_path / "primary").start(), Valkey(tmp_path / "replica").start()
    try:
        async with MovingAddress(primary.port) as address:
            made = Place(tmp_path, primary, replica, address)
            await made.start()
            yield made
            await made.stop()
    finally:
        primary.stop()
        replica.stop()


async def fail_over(place: Place, lost: int, since: int) -> None:
    """The replica lacks the last `lost` entries of lane 0, and has `since` new ones before the journal comes back."""
    await place.accept(place.mail, 3)
    await eventually(lambda: _is(len(place.of("0.1")), 3))
    place.replica.follow(place.primary)
    place.replica.promote()
    await place.accept(place.mail, lost)
    await eventually(lambda: _is(len(place.of("0.1")), 3 + lost))
    await place.accept(await place.store(place.replica.port), since)
    place.address.move(place.replica.port)
    place.primary.stop()


async def _is(found: Any, wanted: Any) -> bool:
    return bool(found == wanted)


@pytest.mark.parametrize("since", [0, 5])
async def test_what_a_promoted_replica_lacks_begins_an_epoch_and_new_events_are_all_read(place: Place, since: int):
    await fail_over(place, lost=2, since=since)
    await eventually(lambda: _is(len(place.of("gap")), 1), 60.0)
    [(_, gap)] = [one for one in place.sink.got if one[0].startswith("gap")]
    assert "lane 0: the store lost 2 entries" in gap.reason
    after = await place.store(place.replica.port)
    assert await after.link.command("HGET", keys.lane_key(0, b"lane"), "epoch") == b"2"
    await place.accept(after, 3)
    await eventually(lambda: _is(len(place.of("0.1")) + len(place.of("0.2")), 5 + since + 3), 60.0)
    assert len(place.of("0.2")) >= 3, "events that came before the journal had looked may have the epoch of before"
    assert len(place.of("gap")) == 1, "no other lane lost anything"
    assert len(set(place.sink.ids)) == len(place.sink.ids)
    await eventually(lambda: _is_empty(after))


async def _is_empty(store: Store) -> bool:
    return await store.outbox.backlog(0) == 0


async def test_a_failover_that_lost_nothing_of_a_lane_begins_no_epoch(place: Place):
    await fail_over(place, lost=0, since=2)
    await eventually(lambda: _is(len(place.of("0.1")), 5), 60.0)
    assert place.of("gap") == []
