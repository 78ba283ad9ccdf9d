"""The watch over unserved pools: it rests behind each page, and a stop ends its rest."""

import asyncio
from types import SimpleNamespace

import pytest

from mta.model.mail import QueueKey, QueueShare
from mta.sweeps import unserved
from mta.sweeps.unserved import UnservedWatch


class Store:
    """One queue of so many pages, in a pool that no worker serves."""

    lanes = 1

    def __init__(self, pages: int, takes: float) -> None:
        self.pages, self.takes = pages, takes
        self.scanned: list[float] = []  # when
        self.first = asyncio.Event()

    async def pools(self):
        return ["bulk"]

    async def queues(self, lane, pool):
        return [QueueShare(QueueKey(pool, "d.test"), "")]

    async def scan(self, lane, queue, cursor, most, share=""):
        await asyncio.sleep(self.takes)
        self.scanned.append(asyncio.get_running_loop().time())
        self.first.set()
        return (cursor + 1) % self.pages, []

    async def sessions(self):
        return {"w": SimpleNamespace(dead=False, delivers=True, metrics={})}


def watch(store: Store) -> UnservedWatch:
    return UnservedWatch(store, store, store, "n1", lambda: 0)


async def test_behind_each_page_it_rests_many_times_as_long_as_the_page_took() -> None:
    store = Store(3, 0.005)
    await watch(store).look()
    rests = [later - earlier for earlier, later in zip(store.scanned, store.scanned[1:], strict=False)]
    assert len(rests) == 2
    assert min(rests) >= 0.005 * 20


async def test_a_stop_ends_its_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unserved, "_PAUSE", 3600.0)
    monkeypatch.setattr(unserved, "_LONGEST", 3600.0)
    store = Store(3, 0.0)
    one = watch(store)
    running = asyncio.create_task(one.run())
    await store.first.wait()
    one.stop()
    await asyncio.wait_for(running, 30)
    assert len(store.scanned) == 1
