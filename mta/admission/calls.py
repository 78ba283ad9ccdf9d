"""The messages of calls: each is signed and routed, and parts of a call are accepted one after the other.

A part waits for the one before it, so a call of any length holds the messages of one part, and a rule that comes in the
middle meets the rest.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Final, NamedTuple

from mta.admission.keyed_calls import KeyedCalls, KeyedCallWork
from mta.admission.known_calls import difference, replies_of
from mta.admission.making import MessageMaker
from mta.model.errors import StoreError
from mta.model.idempotency import IdempotencyKey
from mta.model.ids import MessageId, id_in_row, place_in_row
from mta.model.injection import Injection
from mta.model.mail import NewMessage
from mta.model.outcomes import Reply
from mta.model.quotas import CallQuota
from mta.ports.admission import MOST_IN_A_PART, Admission, Call, Draft, Handed, KeyedWork, Requester
from mta.ports.content import Content
from mta.ports.dkim import Signed, SignMail, Unsigned
from mta.ports.idempotency import CallKeys, CallPart, KeptCall, KeyRefusal, KeyTrouble, OncePart
from mta.timing.clock import wall_seconds

_MOST_RECIPIENTS: Final = 500  # of a part, unless one message has more
_MOST_BYTES: Final = 4 * 1024 * 1024  # of a part, unless one message has more
_AT_A_TIME: Final = 20  # messages that are signed and made before the loop turns


class ClientCalls:
    """Fulfils ports.admission.Calls."""

    def __init__(
        self,
        maker: MessageMaker,
        admission: Admission,
        keyed: KeyedCalls,
        signer: SignMail | None = None,
        *,
        content: Content | None = None,
        clock: Callable[[], float] = wall_seconds,
    ) -> None:
        """`signer` None: nothing is signed. `content`: the store takes large contents before their batch, so that no
        other mail waits for them; None: with it. `clock` gives Unix seconds."""
        self._content = content
        self._keyed = keyed
        self._maker = maker
        self._admission = admission
        self._signer = signer
        self._clock = clock

    def refusal(self) -> Reply | None:
        return self._admission.refusal()

    def would_sign(self, header: bytes, tenant: str) -> bool:
        mail = Unsigned(header, b"", tenant, self._maker.signing_domain(tenant))
        return self._signer is not None and self._signer.would_sign(mail)

    def begin(self, requester: Requester, sender: str, asked: Injection, work: KeyedWork | None = None) -> Call:
        envelope = _Envelope(requester, sender, asked)
        given = self._maker, self._admission, self._signer, self._content, self._clock, envelope
        return KeyedCall(*given, work, self._keyed.keys) if isinstance(work, KeyedCallWork) else ClientCall(*given)

    def work_on(self, key: IdempotencyKey) -> AbstractAsyncContextManager[KeyedWork]:
        return self._keyed.work_on(key)


class _Envelope(NamedTuple):
    """The same for all messages of a call."""

    requester: Requester
    sender: str
    asked: Injection


class ClientCall:
    """Fulfils ports.admission.Call."""

    def __init__(
        self,
        maker: MessageMaker,
        admission: Admission,
        signer: SignMail | None,
        content: Content | None,
        clock: Callable[[], float],
        envelope: _Envelope,
    ) -> None:
        self._maker = maker
        self._admission = admission
        self._signer = signer
        self._content = content
        self._clock = clock
        self._envelope = envelope
        self._first: MessageId | None = None
        self._count = 0  # messages so far
        self._quota = CallQuota() if envelope.asked.tenant else None

    async def submit(self, drafts: Sequence[Draft]) -> list[Handed]:
        found: list[Handed] = []
        for part in _parts(drafts):
            found += await self._submit_part(part)
        return found

    async def _submit_part(self, drafts: Sequence[Draft]) -> list[Handed]:
        refusal = self._admission.refusal()
        if self._first is None:
            self._first = self._admission.begin_call()
        ids = [id_in_row(self._first, self._count + place) for place in range(len(drafts))]
        self._count += len(drafts)
        if refusal is not None:
            return [Handed(one, refusal) for one in ids]
        made = await self._made(drafts, ids)
        messages = [one for one in made if isinstance(one, NewMessage)]
        replies = iter(await self._admitted(messages))
        return [
            Handed(one, self._counted(message) if isinstance(message, Reply) else next(replies))
            for one, message in zip(ids, made, strict=True)
        ]

    async def _made(self, drafts: Sequence[Draft], ids: Sequence[MessageId]) -> list[NewMessage | Reply]:
        now_ms = int(self._clock() * 1000)
        signing, finished = [], []
        for place, (draft, message_id) in enumerate(zip(drafts, ids, strict=True), 1):
            finished.append(draft if draft.finish is None else draft.finish(message_id))
            signing.append(self._sign(finished[-1]))  # the signing process gets those of a part together
            if not place % _AT_A_TIME:
                await asyncio.sleep(0)
        made: list[NewMessage | Reply] = []
        for draft, message_id, found in zip(finished, ids, signing, strict=True):
            signed = await found if isinstance(found, asyncio.Future) else found
            made.append(signed if isinstance(signed, Reply) else self._make(draft, signed, message_id, now_ms))
        return made

    def _sign(self, draft: Draft) -> "Signed | Reply | asyncio.Future[Signed | Reply]":
        signer = self._signer
        if signer is None or not signer.is_on:
            return Signed(b"", draft.header, draft.rest)
        tenant = self._envelope.asked.tenant
        later: asyncio.Future[Signed | Reply] = asyncio.get_running_loop().create_future()
        mail = Unsigned(draft.header, draft.rest, tenant, self._maker.signing_domain(tenant))
        signed = signer.sign(mail, lambda found: None if later.done() else later.set_result(found))
        return later if signed is None else signed

    def _make(self, draft: Draft, signed: Signed, message_id: MessageId, now_ms: int) -> NewMessage | Reply:
        requester, sender, asked = self._envelope
        properties = draft.properties
        if properties is not None and asked.properties:
            properties = asked.properties | properties
        made = self._maker.make(requester, sender, draft.recipients, asked, signed, message_id, now_ms, properties)
        if isinstance(made, NewMessage):
            made.call = self._quota
        return made

    async def _place(self, messages: Sequence[NewMessage]) -> None:
        """Put large contents into the store: their batch comes with their addresses only. Where the store fails, the
        batch tries once more and tells it."""
        if self._content is not None:
            with contextlib.suppress(StoreError):
                for message in messages:
                    message.placed = await self._content.place(message.id, message.content)

    async def _admitted(self, messages: Sequence[NewMessage]) -> Sequence[Reply | None]:
        if not messages:
            return ()
        await self._place(messages)
        answered: asyncio.Future[Sequence[Reply | None]] = asyncio.get_running_loop().create_future()
        refusal = self._admission.admit_part(
            messages, lambda replies: None if answered.done() else answered.set_result(replies)
        )
        return await answered if refusal is None else [refusal] * len(messages)

    def _counted(self, reply: Reply) -> Reply:
        """The refusal of a message that never came to the admission, which counts it."""
        self._admission.admit(lambda message_id, now_ms: reply, lambda _: None)
        return reply


class _NotStored(Exception):
    """A part was certainly not stored."""

    def __init__(self, reply: Reply) -> None:
        self.reply = reply


class KeyedCall(ClientCall):
    """A call with an idempotency key: its messages come behind those that were accepted before."""

    def __init__(
        self,
        maker: MessageMaker,
        admission: Admission,
        signer: SignMail | None,
        content: Content | None,
        clock: Callable[[], float],
        envelope: _Envelope,
        work: KeyedCallWork,
        keys: CallKeys,
    ) -> None:
        super().__init__(maker, admission, signer, content, clock, envelope)
        self._work = work
        self._keys = keys
        kept = work.kept
        self._first_id = admission.begin_call(work.lane) if kept is None else kept.first
        self._first = self._first_id
        self._done = self._count = 0 if kept is None else kept.done
        self._refused_since = b""  # messages behind the last part that were refused, as they are kept

    async def submit(self, drafts: Sequence[Draft]) -> list[Handed]:
        """All that the call has. Raises KeyRefusal where it must be made again."""
        total = self._count + len(drafts)
        found: list[Handed] = []
        for part in _parts(drafts):
            try:
                found += await self._submit_keyed(part, total)
            except _NotStored as stopped:
                if self._done:
                    raise KeyRefusal(KeyTrouble.STOPPED) from None
                return [Handed(self._first_id, stopped.reply)] * len(drafts)
        return found

    async def _submit_keyed(self, drafts: Sequence[Draft], total: int) -> list[Handed]:
        places = range(self._count, self._count + len(drafts))
        self._count += len(drafts)
        ids = [id_in_row(self._first_id, place) for place in places]
        made = await self._made(drafts, ids)
        for place, one in zip(places, made, strict=True):
            if isinstance(one, Reply):
                self._refused_since += difference(place, self._counted(one))
        messages = [one for one in made if isinstance(one, NewMessage)]
        replies = iter(await self._accepted_once(messages, total) if messages else ())
        return [
            Handed(one, message if isinstance(message, Reply) else next(replies))
            for one, message in zip(ids, made, strict=True)
        ]

    async def _accepted_once(self, messages: Sequence[NewMessage], total: int) -> Sequence[Reply]:
        work, begin = self._work, self._done
        keep_ms = work.window_ms + max(one.due_at - one.accepted_at for one in messages)
        note = work.note if self._count < total else b""  # nobody goes on with a call of one part
        part = CallPart(
            work.key, self._first_id, begin, self._count - begin, total, keep_ms, work.keep, note,
            self._refused_since,
        )  # fmt: skip
        replies = await self._run(messages, part)
        if not any(reply.code == 250 for reply in replies) and part.messages < total:
            replies = await self._looked_up(messages, part, replies[0])
        self._done, self._refused_since = self._count, b""
        work.is_open = self._done < total
        return replies

    async def _looked_up(self, messages: Sequence[NewMessage], part: CallPart, reply: Reply) -> Sequence[Reply]:
        """The replies to a part of which no message seems to be accepted: it was not stored, or a rule refused each."""
        kept = await self._keys.look(part.key)
        if kept is None or kept.first != part.first or kept.done < part.begin + part.messages:
            raise _NotStored(reply)
        replies = replies_of(kept)
        return [replies[place_in_row(part.first, message.id)] for message in messages]

    async def _run(self, messages: Sequence[NewMessage], part: CallPart) -> Sequence[Reply]:
        if (refusal := self._admission.refusal()) is not None:
            raise _NotStored(refusal)
        await self._place(messages)
        answered: asyncio.Future[Sequence[Reply | None] | KeyTrouble] = asyncio.get_running_loop().create_future()

        def known(kept: KeptCall | None) -> None:
            """The store took nothing: the call is not where this part begins, or (None) no key has room."""
            if not answered.done():
                no_room = kept is None and not part.begin
                answered.set_result(KeyTrouble.NO_ROOM if no_room else KeyTrouble.UNDER_WAY)

        refusal = self._admission.admit_part(
            messages, lambda replies: None if answered.done() else answered.set_result(replies), OncePart(part, known)
        )
        if refusal is not None:
            raise _NotStored(refusal)
        found = await answered
        if isinstance(found, KeyTrouble):
            raise KeyRefusal(found)
        known_replies = [reply for reply in found if reply is not None]
        if len(known_replies) < len(found):
            self._work.is_open = True
            raise KeyRefusal(KeyTrouble.UNKNOWN)
        return known_replies


def _parts(drafts: Sequence[Draft]) -> Iterator[Sequence[Draft]]:
    """The drafts in order, in parts that the store accepts in one step each."""
    part: list[Draft] = []
    recipients = size = 0
    for draft in drafts:
        more = len(draft.header) + len(draft.rest)
        if part and (
            len(part) == MOST_IN_A_PART
            or recipients + len(draft.recipients) > _MOST_RECIPIENTS
            or size + more > _MOST_BYTES
        ):
            yield part
            part, recipients, size = [], 0, 0
        part.append(draft)
        recipients += len(draft.recipients)
        size += more
    if part:
        yield part
