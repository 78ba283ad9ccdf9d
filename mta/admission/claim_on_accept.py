"""Claim on accept: reserves room before the accept step, and hands the deliveries that the step claimed to delivery."""

from collections.abc import Mapping, Sequence

from mta.model.mail import Claimed, NewMessage, QueueKey
from mta.ports.admission import ClaimOnAccept
from mta.ports.queueing import AcceptanceDecision


def reserve(
    delivery: ClaimOnAccept, messages: Sequence[NewMessage], decision: AcceptanceDecision
) -> dict[QueueKey, int]:
    """The number of deliveries of each queue that the accept step may claim. Call `hand_over` with it afterwards."""
    reserved = {}
    for (pool, domain), count in _due_now(messages, decision).items():
        queue = QueueKey(pool, domain)
        if room := delivery.reserve(queue, count):
            reserved[queue] = room
    return reserved


def hand_over(
    delivery: ClaimOnAccept, reserved: Mapping[QueueKey, int], claimed: Mapping[QueueKey, Sequence[Claimed]]
) -> None:
    """`claimed` is the answer of the accept step; it is empty where the step failed or its answer was lost."""
    for queue, room in reserved.items():
        delivery.take(queue, room, claimed.get(queue, ()))


def _due_now(messages: Sequence[NewMessage], decision: AcceptanceDecision) -> dict[tuple[str, str], int]:
    """The number of deliveries, by pool and domain, that the accept step queues and that are due at once."""
    counts: dict[tuple[str, str], int] = {}
    for message in messages:
        if message.due_at > message.accepted_at:
            continue
        pool, recipients = message.pool, message.recipients
        if ended := decision.ended.get(message.id):
            over = {one.number for one in ended}
            recipients = tuple(one for number, one in enumerate(recipients, 1) if number not in over)
        for _, domain in recipients:
            key = pool, domain
            counts[key] = counts.get(key, 0) + 1
    return counts
