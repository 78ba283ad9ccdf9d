"""Messages with an idempotency key: the first is accepted, a repeat is answered as the first."""

import asyncio

import pytest

from mta.admission.group_commit import GroupCommit
from mta.admission.key_memory import KeyMemory
from mta.admission.once import NO_ROOM, OTHER_CONTENT, UNDER_WAY, OncePerKey
from mta.admission.submission import TrustedSubmissions
from mta.model.errors import StoreAway
from mta.model.ids import lane_of, message_text
from mta.ports.admission import Requester, Submission
from mta.ports.idempotency import KeepMode, KeptCall
from tests.support.intake import RecordingStore, make_settings, no_rules

KEYED = b"X-MQ-Idempotency-Key: k\r\n"


class Door:
    """Submissions on a store that keeps the keys which it accepted."""

    def __init__(self, window=3600.0):
        self.store = RecordingStore()
        self.room = True
        admission = GroupCommit(self.store, 0.0, no_rules)
        self.once = OncePerKey(admission, self.store.lanes, window, lambda: self.room)
        self.submissions = TrustedSubmissions(make_settings(), admission, once=self.once)

    async def submit(self, content, sender="a@b.test", to=("c@d.test",), client="192.0.2.7"):
        future = asyncio.get_running_loop().create_future()
        submission = Submission(Requester(client), sender, to, content)
        reply = self.submissions.submit(submission, future.set_result)
        reply = await asyncio.wait_for(future, 30.0) if reply is None else reply
        for part in self.store.calls:
            if part.keep is KeepMode.KEEP:
                known = KeptCall(part.key.content, part.first, 1, 1, "", False, b"", b"")
                self.store.known.setdefault(part.key.name, known)
        return reply


async def test_a_repeat_gets_the_reply_of_the_first_and_other_content_is_refused():
    door = Door()
    first = await door.submit(KEYED + b"A: b\r\n\r\nx\r\n")
    assert first.code == 250
    assert await door.submit(KEYED + b"A: b\r\n\r\nx\r\n", client="2001:db8::1") == first
    for content, envelope in (
        (b"A: b\r\n\r\ny\r\n", {}),
        (b"A: b\r\n\r\nx\r\n", {"to": ("c@d.test", "e@d.test")}),
        (b"A: b\r\n\r\nx\r\n", {"sender": "e@b.test"}),
        (b"X-MQ-Tag: t\r\nA: b\r\n\r\nx\r\n", {}),
    ):
        assert await door.submit(KEYED + content, **envelope) == OTHER_CONTENT
    [message] = door.store.messages
    assert first.text == f"queued as {message_text(message.id)}"
    assert lane_of(message.id) == door.store.calls[0].key.lane(door.store.lanes)
    assert b"dempotency" not in message.content
    assert door.once.replayed == 1


async def test_other_keys_and_other_tenants_are_other_calls():
    door = Door()
    for lines in (
        b"X-MQ-Idempotency-Key: k\r\n",
        b"X-MQ-Idempotency-Key: l\r\n",
        KEYED + b"X-MQ-Tenant: acme\r\n",
        b"",
    ):
        assert (await door.submit(lines + b"\r\nx\r\n")).code == 250
    assert len(door.store.messages) == 4
    assert len({part.key.name for part in door.store.calls}) == 3


async def test_a_message_whose_key_is_under_way_is_told_to_come_again():
    door = Door()
    door.store.hold.clear()
    first = asyncio.create_task(door.submit(KEYED + b"\r\nx\r\n"))
    await door.store.called.wait()
    assert await door.submit(KEYED + b"\r\nx\r\n") == UNDER_WAY
    door.store.hold.set()
    assert (await first).code == 250
    assert await door.submit(KEYED + b"\r\nx\r\n") == await first


async def test_a_message_that_was_not_accepted_leaves_its_key_free():
    door = Door()
    door.store.trouble = StoreAway("away")
    assert (await door.submit(KEYED + b"\r\nx\r\n")).code == 451
    door.store.trouble = None
    assert (await door.submit(KEYED + b"X-MQ-Pool: no such name!\r\n\r\nx\r\n")).code == 550
    assert (await door.submit(KEYED + b"\r\nx\r\n")).code == 250


async def test_a_key_is_kept_for_the_window_after_the_time_that_the_mail_is_scheduled_for():
    door = Door(window=600.0)
    await door.submit(KEYED + b"\r\nx\r\n")
    await door.submit(b"X-MQ-Idempotency-Key: later\r\nX-MQ-Delayed: +2h\r\n\r\nx\r\n")
    now, later = (part.keep_ms for part in door.store.calls)
    assert now == 600_000
    assert abs(later - 600_000 - 7_200_000) < 5000


async def test_without_room_for_keys_a_new_one_is_refused_and_mail_without_goes_on():
    door = Door()
    door.room = False
    door.store.known = {}
    reply = asyncio.create_task(door.submit(KEYED + b"\r\nx\r\n"))
    await reply
    assert [part.keep for part in door.store.calls] == [KeepMode.NO_ROOM]
    door.store.known = {door.store.calls[0].key.name: None}  # the answer of the step then
    assert await door.submit(KEYED + b"\r\nx\r\n") == NO_ROOM
    assert (await door.submit(b"\r\nx\r\n")).code == 250


class Keys:
    """Tells how much it keeps, as often as it was asked."""

    def __init__(self):
        self.kept = 0
        self.asked = 0

    async def key_bytes(self):
        self.asked += 1
        if self.kept < 0:
            raise StoreAway("away")
        return self.kept


async def test_memory_is_looked_at_while_keys_are_made_and_at_first():
    keys = Keys()
    memory = KeyMemory(keys, 1000)
    for _ in range(3):
        await memory.look()
    assert keys.asked == 1
    keys.kept = 1000
    assert memory.has_room()
    await memory.look()
    assert not memory.has_room()
    keys.kept = -1
    await memory.look()
    assert not memory.has_room()
    keys.kept = 999
    await memory.look()
    assert memory.has_room()
    assert keys.asked == 4


@pytest.mark.parametrize("window", [300.0, 86400.0])
async def test_mail_without_a_key_makes_no_part(window):
    door = Door(window)
    await door.submit(b"\r\nx\r\n")
    assert door.store.calls == []
