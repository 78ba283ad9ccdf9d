"""The messages of a call: their ids follow each other over all parts, and each has the answer that is its own."""

from collections.abc import Callable
from typing import Any, cast

from mta.admission.calls import ClientCalls
from mta.admission.group_commit import GroupCommit
from mta.admission.making import MessageMaker
from mta.model.errors import StoreAway
from mta.model.ids import lane_of
from mta.model.injection import Injection
from mta.model.outcomes import Reply
from mta.model.placed_content import PlacedContent
from mta.ports.admission import Draft, Requester
from mta.ports.dkim import Signed, Unsigned
from tests.support.intake import RecordingStore, make_settings, no_rules

CLIENT = Requester("192.0.2.9", "", "HTTP")
LATER = Reply(451, "4.7.5", "cannot be signed now")


class Signer:
    """Signs everything but mail whose header says that it cannot be."""

    is_on = True

    def sign(self, mail: Unsigned, done: Callable[[Signed | Reply], None]) -> Signed | Reply | None:
        if b"unsignable" in mail.header:
            return LATER
        done(Signed(b"DKIM-Signature: x\r\n", mail.header, mail.rest))
        return None


def a_call(store: RecordingStore, signer: Any = None, asked: Injection = Injection()) -> Any:  # noqa: B008
    settings = make_settings()
    admission = GroupCommit(store, 0.0, no_rules)
    keyed: Any = None  # no call here has a key
    return ClientCalls(MessageMaker(settings), admission, keyed, signer).begin(CLIENT, "a@b.test", asked), admission


def a_draft(number: int, size: int = 1, recipients: int = 1, header: bytes = b"Subject: s\r\n") -> Draft:
    to = tuple(f"u{number}-{n}@d.test" for n in range(recipients))
    return Draft(header, b"\r\n" + b"x" * size, to)


def numbers(handed: Any) -> list[int]:
    return [int.from_bytes(one.id, "big") >> 10 for one in handed]


async def test_ids_follow_each_other_over_parts_and_submissions() -> None:
    store = RecordingStore()
    call, _ = a_call(store)
    handed = await call.submit([a_draft(number) for number in range(250)])
    handed += await call.submit([a_draft(number) for number in range(250, 300)])
    assert numbers(handed) == list(range(numbers(handed)[0], numbers(handed)[0] + 300))
    assert len({lane_of(one.id) for one in handed}) == 1
    assert [len(batch) for _, batch in store.batches] == [100, 100, 50, 50]
    assert [message.id for message in store.messages] == [one.id for one in handed]
    assert all(one.is_accepted for one in handed)


async def test_a_part_ends_before_it_is_too_large_for_one_step() -> None:
    store = RecordingStore()
    call, _ = a_call(store)
    await call.submit([a_draft(0, recipients=400), a_draft(1, recipients=200), a_draft(2, size=5_000_000), a_draft(3)])
    assert [len(batch) for _, batch in store.batches] == [1, 1, 1, 1]


async def test_a_message_that_cannot_be_signed_has_its_refusal_and_the_others_are_accepted() -> None:
    store = RecordingStore()
    call, admission = a_call(store, Signer())
    drafts = [a_draft(0), a_draft(1, header=b"X: unsignable\r\n"), a_draft(2)]
    handed = await call.submit(drafts)
    assert [one.reply.code for one in handed] == [250, 451, 250]
    assert [message.recipients[0].address for message in store.messages] == ["u0-0@d.test", "u2-0@d.test"]
    assert all(b"DKIM-Signature: x\r\nSubject" in message.content for message in store.messages)
    assert (admission.accepted, admission.refused) == (2, 1)


async def test_properties_of_a_message_stand_over_those_of_the_call() -> None:
    store = RecordingStore()
    call, _ = a_call(store, asked=Injection(properties={"run": "7", "order": "0"}))
    await call.submit([a_draft(0), a_draft(1)._replace(properties={"order": "4711"})])
    assert [one.properties for one in store.messages] == [
        {"run": "7", "order": "0"},
        {"run": "7", "order": "4711"},
    ]


async def test_nothing_is_made_while_no_message_may_come() -> None:
    store = RecordingStore()
    call, admission = a_call(store)
    admission.refuse("the store is away")
    (handed,) = await call.submit([a_draft(0)])
    assert (handed.reply.code, handed.is_accepted, store.batches) == (451, False, [])


class Places:
    """A store for contents of 1,000 bytes and more, which may be away."""

    def __init__(self) -> None:
        self.contents: dict[bytes, bytes] = {}
        self.away = False

    async def place(self, message: Any, content: bytes) -> PlacedContent | None:
        if self.away:
            raise StoreAway("no answer")
        if len(content) < 1000:
            return None
        self.contents[message] = content
        return PlacedContent(b"p", (message,))


async def test_a_large_content_is_in_the_store_before_its_batch() -> None:
    store, places = RecordingStore(), Places()
    maker, keyed = MessageMaker(make_settings()), cast(Any, None)
    calls = ClientCalls(maker, GroupCommit(store, 0.0, no_rules), keyed, content=cast(Any, places))
    handed = await calls.begin(CLIENT, "a@b.test", Injection()).submit([a_draft(1, 10), a_draft(2, 5000)])
    assert [one.is_accepted for one in handed] == [True, True]
    assert [message.placed for message in store.messages] == [None, PlacedContent(b"p", (handed[1].id,))]
    assert list(places.contents) == [handed[1].id]
    places.away = True
    (told,) = await calls.begin(CLIENT, "a@b.test", Injection()).submit([a_draft(3, 5000)])
    assert told.is_accepted, "the batch takes the content itself"
    assert store.messages[-1].placed is None
