"""The messages of calls: each is signed and routed, and parts of a call are accepted one after the other.

A part waits for the one before it, so a call of any length holds the messages of one part, and a rule that comes in the
middle meets the rest.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

from mta.admission.making import MessageMaker
from mta.model.ids import MessageId, id_in_row
from mta.model.injection import Injection
from mta.model.mail import NewMessage
from mta.model.outcomes import Reply
from mta.model.quotas import CallQuota
from mta.ports.admission import MOST_IN_A_PART, Admission, Call, Draft, Handed, Requester
from mta.ports.dkim import Signed, SignMail, Unsigned
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
        signer: SignMail | None = None,
        *,
        clock: Callable[[], float] = wall_seconds,
    ) -> None:
        """`signer` None: nothing is signed. `clock` gives Unix seconds."""
        self._maker = maker
        self._admission = admission
        self._signer = signer
        self._clock = clock

    def refusal(self) -> Reply | None:
        return self._admission.refusal()

    def begin(self, requester: Requester, sender: str, asked: Injection) -> Call:
        return ClientCall(self._maker, self._admission, self._signer, self._clock, _Envelope(requester, sender, asked))


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
        clock: Callable[[], float],
        envelope: _Envelope,
    ) -> None:
        self._maker = maker
        self._admission = admission
        self._signer = signer
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
            Handed(one, self._refused(message) if isinstance(message, Reply) else next(replies))
            for one, message in zip(ids, made, strict=True)
        ]

    async def _made(self, drafts: Sequence[Draft], ids: Sequence[MessageId]) -> list[NewMessage | Reply]:
        now_ms = int(self._clock() * 1000)
        signing = []
        for place, draft in enumerate(drafts, 1):  # the signatures that are made beside are made together
            signing.append(self._sign(draft))
            if not place % _AT_A_TIME:
                await asyncio.sleep(0)
        made: list[NewMessage | Reply] = []
        for draft, message_id, found in zip(drafts, ids, signing, strict=True):
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

    async def _admitted(self, messages: Sequence[NewMessage]) -> Sequence[Reply | None]:
        if not messages:
            return ()
        answered: asyncio.Future[Sequence[Reply | None]] = asyncio.get_running_loop().create_future()
        refusal = self._admission.admit_part(
            messages, lambda replies: None if answered.done() else answered.set_result(replies)
        )
        return await answered if refusal is None else [refusal] * len(messages)

    def _refused(self, reply: Reply) -> Reply:
        """The admission counts what is refused."""
        self._admission.admit(lambda message_id, now_ms: reply, lambda _: None)
        return reply


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
