"""Content of mail that the store still has, read or sent once more as a new message."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from mta.model.errors import OutcomeUnknown, StoreFull
from mta.model.ids import MessageId, lane_of, new_message_id
from mta.model.mail import NewMessage, Recipient, Record
from mta.orders.cancellation import PROBED
from mta.ports.content import Content
from mta.ports.messages import FoundDelivery, MessageStore
from mta.ports.queueing import UNDECIDED, AcceptanceDecision, Accepts, Ambiguous
from mta.ports.stored_mail import ContentGone, KeptMail, Resent, StillWaits
from mta.timing.clock import wall_ms

Decide = Callable[[Sequence[NewMessage]], Awaitable[AcceptanceDecision]]


async def _undecided(messages: Sequence[NewMessage]) -> AcceptanceDecision:
    return UNDECIDED


class MailInStore:
    """Fulfils ports.stored_mail.StoredMail in the API process."""

    def __init__(
        self,
        store: MessageStore,
        content: Content,
        accepts: Accepts,
        has_room: Callable[[int], bool] = lambda size: True,
        wall: Callable[[], int] = wall_ms,
        *,
        decide: Decide = _undecided,
    ) -> None:
        """`has_room`: whether the disk takes so many bytes more; `wall` gives Unix ms; `decide` ends deliveries as they
        are accepted."""
        self._store = store
        self._content = content
        self._accepts = accepts
        self._has_room = has_room
        self._wall = wall
        self._decide = decide
        self._turn = asyncio.Lock()  # one accept in a lane at a time

    async def read(self, message: MessageId) -> KeptMail | None:
        found = await self._store.find(message, PROBED)
        if not found:
            return None
        about = (one.common or one.record for one in found)
        tenant = next((one.tenant for one in about if one is not None), "")
        holder = _holder(found)
        is_kept = holder is not None and not holder.simulated
        content = await self._content.get(message, holder) if holder is not None and is_kept else None
        return KeptMail(tenant, content)

    async def resend(self, message: MessageId, number: int, client: str) -> Resent | None:
        found = await self._store.find(message, PROBED)
        chosen = [one for one in found if number in (0, int.from_bytes(one.id[16:], "big"))]
        if not chosen:
            return None
        ended = [one for one in chosen if one.ended is not None]
        if not ended:
            raise StillWaits("it has not ended, so it is still delivered; cancel it first, or wait for its end")
        holder = _holder(found)
        content = None if holder is None else await self._content.get(message, holder)
        if holder is None or content is None:
            raise ContentGone(
                "its content is not kept any more: the store keeps it while a delivery of the message waits, and for "
                "rules.undo_window after a forced error"
            )
        pool = next(one.queue.pool for one in found if one.record is not None)
        recipients = tuple(Recipient(_address(one), one.queue.domain) for one in ended)
        new = self._made_of(holder, pool, recipients, content, client, message)
        await self._accept(new)
        return Resent(new.id, tuple(address for address, _ in recipients))

    def _made_of(
        self,
        record: Record,
        pool: str,
        recipients: tuple[Recipient, ...],
        content: bytes,
        client: str,
        message: MessageId,
    ) -> NewMessage:
        now = self._wall()
        return NewMessage(
            id=new_message_id(lane_of(message), now),
            sender=record.sender,
            recipients=recipients,
            pool=pool,
            tags=record.tags,
            content=content,
            needs_8bit=record.needs_8bit,
            accepted_at=now,
            due_at=now,
            expires_at=now + record.expires_at - (record.scheduled_at or record.accepted_at),
            max_attempts=record.max_attempts,
            retries=record.retries,
            client=client,
            properties=record.properties,
            tenant=record.tenant,
            priority=record.priority,
            simulated=record.simulated,
            topic=record.topic,
        )

    async def _accept(self, message: NewMessage) -> None:
        """The rules are asked when a worker claims it."""
        if not self._has_room(len(message.content)):
            raise StoreFull("no space left for mail")
        async with self._turn:
            try:
                await self._accepts.accept(lane_of(message.id), [message], await self._decide([message]))
            except Ambiguous as unknown:
                raise OutcomeUnknown(str(unknown)) from unknown


def _holder(found: Sequence[FoundDelivery]) -> Record | None:
    """The record of a delivery that still needs the content."""
    return next((one.record for one in found if one.record is not None), None)


def _address(found: FoundDelivery) -> str:
    known = found.final or found.record
    return known.recipient if known is not None else ""
