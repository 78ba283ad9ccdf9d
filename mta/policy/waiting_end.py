"""The end of a delivery that waits and is not attempted again: its event and its final status, encoded."""

import msgspec

from mta.model.endings import Common, Final
from mta.model.events import EventType, delivery_event, ordered
from mta.model.ids import DeliveryId
from mta.model.mail import QueueKey, Record
from mta.model.outcomes import NO_ATTEMPT

_encode = msgspec.msgpack.Encoder().encode


def encoded_end(
    kind: EventType,
    now: int,
    node: str,
    delivery: DeliveryId,
    queue: QueueKey,
    record: Record,
    *,
    enhanced: str = "",
    reason: str,
    uncertain: bool,
    author: str = "",
) -> tuple[bytes, bytes]:
    """The event and the Final of a delivery that `node` ends at `now` (Unix ms), by order of `author` where there is
    one; the reply of its last attempt is kept."""
    event = delivery_event(
        kind,
        now,
        node,
        delivery,
        queue,
        record,
        NO_ATTEMPT,
        record.attempts,
        enhanced=enhanced,
        reason=reason,
        uncertain=uncertain,
    )
    final = Final(
        record.recipient,
        now,
        record.recipients,
        reply=record.last,
        attempts=record.attempts,
        common=Common(record.sender, record.tags, queue.pool, record.tenant),
        properties=record.properties,
        known=record.known,
        uncertain=uncertain,
        seq=event.seq,
    )
    return _encode(ordered(event, author) if author else event), _encode(final)
