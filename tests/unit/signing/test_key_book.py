"""Keys from their order to their end: pending, shown in DNS, active, retired, gone."""

from msgspec.structs import replace

from mta.model.dkim_keys import PUBLISHED_FOR, Algorithm, DkimKey, KeyState, key_id
from mta.signing.record_watch import RecordWatch
from tests.support.dkim_keys import KeysInMemory, LooksInMemory, RecordsInMemory, key_book

NOW = 1_700_000_000_000


def wanted(selector: str, state: KeyState = KeyState.PENDING, **more: str) -> DkimKey:
    return DkimKey(
        id=key_id("a.test", selector), domain="a.test", selector=selector, algorithm=Algorithm.ED25519, bits=0,
        public="", state=state, **more,
    )  # fmt: skip


class Place:
    def __init__(self) -> None:
        self.now = NOW
        self.keys, self.looks, self.dns = KeysInMemory(), LooksInMemory(), RecordsInMemory()
        self.book = key_book(self.keys, self.looks, self.dns, lambda: self.now)
        self.watch = RecordWatch(self.book, self.keys, self.looks, "me", clock=lambda: self.now / 1000)

    async def made(self, selector: str, state: KeyState = KeyState.PENDING, **more: str) -> DkimKey:
        key = await self.book.add(wanted(selector, state, **more), "")
        assert key is not None
        return key

    def publish(self, key: DkimKey, record: str = "") -> None:
        self.dns.records[key.name, "TXT"] = (record or key.record,)

    async def state(self, key: DkimKey) -> KeyState:
        found = await self.book.key(key.id)
        assert found is not None
        return found.state


async def test_a_selector_belongs_to_one_key() -> None:
    place = Place()
    await place.made("s1")
    assert await place.book.add(wanted("s1"), "") is None


async def test_a_key_is_active_once_dns_shows_exactly_it() -> None:
    place = Place()
    key = await place.made("s1")
    other = ("B" if key.public[0] == "A" else "A") + key.public[1:]
    for record in ("v=DKIM1; p=", f"v=DKIM1; k=rsa; p={key.public}", f"v=DKIM1; k=ed25519; p={other}"):
        place.publish(key, record)
        await place.watch.round()
        assert await place.state(key) is KeyState.PENDING
        place.now += 60_000
    place.dns.failed.add(key.name)
    await place.watch.round()
    assert "no usable answer" in place.looks.found[key.id].text
    place.dns.failed.clear()
    place.publish(key)
    place.now += 60_000
    await place.watch.round()
    assert await place.state(key) is KeyState.ACTIVE
    assert place.looks.found[key.id].shows


async def test_the_replaced_key_retires_with_the_activation_and_goes_after_a_week() -> None:
    place = Place()
    old = await place.made("s1", KeyState.ACTIVE)
    new = await place.made("s2", replaces=old.id)
    await place.watch.round()
    assert await place.state(old) is KeyState.ACTIVE
    place.publish(new)
    place.now += 60_000
    await place.watch.round()
    assert (await place.state(new), await place.state(old)) == (KeyState.ACTIVE, KeyState.RETIRED)
    place.now += PUBLISHED_FOR - 1
    await place.watch.round()
    assert await place.state(old) is KeyState.RETIRED
    place.now += 1
    await place.watch.round()
    assert await place.book.key(old.id) is None


async def test_a_rotation_that_a_process_left_unfinished_is_ended() -> None:
    place = Place()
    old = await place.made("s1", KeyState.ACTIVE)
    new = await place.made("s2", replaces=old.id)
    entry = place.keys.entries[new.id]
    await place.keys.put(replace(entry, key=replace(entry.key, state=KeyState.ACTIVE)), entry)
    await place.watch.round()
    assert await place.state(old) is KeyState.RETIRED


async def test_pending_keys_are_looked_at_often_at_first_and_active_ones_each_hour() -> None:
    place = Place()
    pending, active = await place.made("s1"), await place.made("s2", KeyState.ACTIVE)
    asked = {pending.name: 0, active.name: 0}
    for _ in range(4 * 3600 // 5):
        await place.watch.round()
        place.now += 5_000
    for name in place.dns.asked:
        asked[name] += 1
    assert asked == {pending.name: 40 + 46, active.name: 4}


async def test_a_process_that_does_not_lead_asks_nothing() -> None:
    place = Place()
    await place.made("s1")
    place.looks.leader = "another"
    await place.watch.round()
    assert place.dns.asked == []
