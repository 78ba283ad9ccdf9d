"""The keys that a process signs with follow the table of keys, and nothing is read while it does not change."""

import asyncio

import pytest

from mta.model.dkim_keys import KeyState
from mta.model.errors import SealError
from mta.signing.key_ring import KeyRing
from tests.support.dkim_keys import KeysInMemory, OpenSeal, entry_of
from tests.support.eventually import eventually


def selectors(ring: KeyRing, domain: str, tenant: str = "") -> list[str]:
    return [one.key.selector for one in ring.keys(domain, tenant)]


async def test_changes_are_taken_over_one_by_one() -> None:
    store = KeysInMemory(entry_of("a.test", "s1"), entry_of("a.test", "s2"), entry_of("b.test", state=KeyState.PENDING))
    ring = KeyRing(store, OpenSeal())
    await ring.look()
    assert (selectors(ring, "a.test"), selectors(ring, "b.test")) == (["s1", "s2"], [])
    pending = entry_of("b.test", state=KeyState.PENDING)
    assert await store.put(entry_of("b.test"), pending)
    await store.remove(entry_of("a.test", "s1").key.id)
    await ring.look()
    assert (selectors(ring, "a.test"), selectors(ring, "b.test")) == (["s2"], ["s1"])
    assert await store.put(entry_of("a.test", "s2", state=KeyState.RETIRED), entry_of("a.test", "s2"))
    await store.remove(entry_of("b.test").key.id)
    await ring.look()
    assert ring.is_empty
    assert (selectors(ring, "a.test"), selectors(ring, "b.test"), store.whole_reads) == ([], [], 1)


async def test_a_key_that_stays_is_opened_once() -> None:
    entry = entry_of("a.test")
    opened = []

    class Counting(OpenSeal):
        def open(self, sealed: bytes, about: str) -> bytes:
            opened.append(about)
            return super().open(sealed, about)

    ring = KeyRing(KeysInMemory(entry), Counting())
    await ring.look()
    (key,) = ring.keys("a.test", "")
    assert key.sign(bytes(32)) == key.sign(bytes(32))
    assert opened == [f"dkim:{entry.key.id}"]


async def test_a_key_that_does_not_open_is_tried_again_later(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("mta.signing.key_ring.time.monotonic", lambda: now)
    entry, seal = entry_of("a.test"), OpenSeal()
    seal.broken.add(f"dkim:{entry.key.id}")
    ring = KeyRing(KeysInMemory(entry), seal)
    await ring.look()
    (key,) = ring.keys("a.test", "")
    with pytest.raises(SealError):
        key.sign(bytes(32))
    seal.broken.clear()
    with pytest.raises(SealError):
        key.sign(bytes(32))
    now = 5.0
    assert key.sign(bytes(32))


async def test_a_published_change_is_taken_over_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mta.timing.follow._LOOK_EVERY", 1000.0)
    store = KeysInMemory()
    ring = KeyRing(store, OpenSeal())
    hints = len(store.hooks)  # it follows the table before `run`: a process listens for the channels that it knows then
    task = asyncio.create_task(ring.run())
    await ring.ready()
    assert await store.put(entry_of("a.test"), None)
    store.publish()
    await eventually(lambda: not ring.is_empty)
    task.cancel()
    assert hints == 1


async def test_it_is_ready_once_the_keys_were_read() -> None:
    ring = KeyRing(KeysInMemory(entry_of("a.test")), OpenSeal())
    task = asyncio.create_task(ring.run())
    await ring.ready()
    assert selectors(ring, "a.test") == ["s1"]
    task.cancel()
