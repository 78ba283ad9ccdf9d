"""One message: where each of its deliveries is, and the order to cancel it."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from mta.model.actor import Actor
from mta.model.errors import OutcomeUnknown, StoreAway
from mta.model.events import EventType
from mta.model.ids import MessageId, delivery_id, lane_of, message_text
from mta.model.outcomes import Class
from mta.policy.waiting_end import encoded_end
from mta.ports.certainty import made_certain
from mta.ports.messages import DeliveryStatus, EndAnswer, FoundDelivery, MessageStore, Place, PlannedEnd
from mta.timing.clock import boottime, wall_ms

log = logging.getLogger(__name__)

PROBED: Final = 100  # recipients that are looked for where nothing says how many there are
_TRIES: Final = 50  # of a delivery that moves whenever it was looked at
_LOOK: Final = (0.01, 0.05)  # seconds between looks at what workers hold: at first, at most

_LIVING: Final = {
    Place.DUE: Class.QUEUED,
    Place.CLAIMED: Class.QUEUED,
    Place.HELD: Class.HELD,
    Place.PARKED: Class.PARKED,
}
_ENDS_HERE: Final = (Place.DUE, Place.HELD, Place.PARKED)


class Cancellation:
    """Fulfils ports.messages.Messages in the API process."""

    def __init__(
        self,
        store: MessageStore,
        node: str,
        timeout: float,
        now: Callable[[], float] = boottime,
        wall: Callable[[], int] = wall_ms,
    ) -> None:
        """`node` is named in the events; a cancellation whose answer was lost is repeated for `timeout` seconds."""
        self._store = store
        self._node = node
        self._timeout = timeout
        self._now = now
        self._wall = wall

    async def show(self, message: MessageId, only: int = 0) -> list[DeliveryStatus]:
        return await self._show(message, PROBED, only)

    async def _show(self, message: MessageId, last: int, only: int) -> list[DeliveryStatus]:
        for _ in range(_TRIES):
            found = await self._store.find(message, last, only)
            if not any(one.moved for one in found):
                break
        return [_status(one) for one in found]

    async def cancel(self, message: MessageId, actor: Actor, wait: float, only: int = 0) -> list[DeliveryStatus]:
        log.debug("message %s, recipient %d: canceled by %s", message_text(message), only, actor)
        deadline, pause, moves, last = self._now() + wait, _LOOK[0], 0, PROBED
        while True:
            found = await self._store.find(message, last, only)
            last = max([last, *(one.recipients for one in found)])
            ask = partial(self._end, message, actor.author, only, found)
            again = partial(self._find_and_end, message, actor.author, only, last)
            answers = await made_certain(ask, again, self._timeout)
            if EndAnswer.MOVED in answers:
                moves += 1
                if moves > _TRIES:
                    raise StoreAway("the message changes too fast to be canceled; try again")
                await asyncio.sleep(_LOOK[0])
            elif EndAnswer.WORKER_ASKED not in answers or self._now() + pause > deadline:
                return await self._show_canceled(message, last, only)
            else:
                await asyncio.sleep(pause)
                pause = min(pause * 1.5, _LOOK[1])

    async def _find_and_end(self, message: MessageId, author: str, only: int, last: int) -> list[EndAnswer]:
        return await self._end(message, author, only, await self._store.find(message, last, only))

    async def _end(self, message: MessageId, author: str, only: int, found: Sequence[FoundDelivery]) -> list[EndAnswer]:
        """One call for all deliveries that have a place; those without one answer MOVED."""
        if any(one.place is Place.CLAIMED and not one.asked_at for one in found):
            # Before the delivery is marked: a worker that is told too early loses nothing, and a mark means that the
            # worker that held the delivery then has been told.
            await self._store.tell_workers(delivery_id(message, only) if only else message, author)
        now = self._wall()
        ends = [self._planned(one, one.place, author, now) for one in found if one.place is not None]
        answers = await self._store.end(lane_of(message), Class.CANCELED, now, ends, author) if ends else []
        return [EndAnswer.MOVED for one in found if one.moved] + answers

    def _planned(self, found: FoundDelivery, place: Place, author: str, now: int) -> PlannedEnd:
        planned = PlannedEnd(
            found.id, place, found.queue, found.raw, found.source, found.stage,
            uncertain=found.uncertain, share=found.share,
        )  # fmt: skip
        record = found.record
        if record is None or place not in _ENDS_HERE:
            return planned
        event, final = encoded_end(
            EventType.CANCELLATION,
            now,
            self._node,
            found.id,
            found.queue,
            record,
            reason="canceled",
            uncertain=found.uncertain,
            author=author,
        )
        return planned._replace(tags=record.counted_tags, event=event, final=final, left_rule=record.deferred_by)

    async def _show_canceled(self, message: MessageId, last: int, only: int) -> list[DeliveryStatus]:
        """Raises OutcomeUnknown where the store is away: StoreAway would deny the cancellation."""
        show = partial(self._show, message, last, only)
        try:
            return await made_certain(show, show, self._timeout)
        except StoreAway as away:
            raise OutcomeUnknown(str(away)) from away


def _status(found: FoundDelivery) -> DeliveryStatus:
    if found.ended is not None:
        uncertain = None if found.ended is Class.DELIVERED else found.uncertain
        return DeliveryStatus(found.id, found.ended, None, found.final, uncertain=uncertain, common=found.common)
    unplaced = Class.QUEUED if found.record is not None else Class.PARKED
    return DeliveryStatus(
        found.id,
        unplaced if found.place is None else _LIVING.get(found.place, unplaced),
        found.record,
        None,
        found.due_at if found.place is Place.DUE else 0,
        found.asked_at,
        found.uncertain,
        found.queue.pool,
    )
