"""Room is reserved with delivery before the accept step, and the deliveries claimed in it are handed over after it."""

from collections.abc import Mapping, Sequence

from mta.model.mail import Claimed, NewMessage, QueueKey, QueueShare
from mta.ports.admission import ClaimOnAccept
from mta.ports.queueing import AcceptanceDecision


def reserve(
    delivery: ClaimOnAccept, messages: Sequence[NewMessage], decision: AcceptanceDecision
) -> dict[QueueShare, int]:
    """How many deliveries of each share of a queue the accept step may claim; each entry must be handed over
    afterwards."""
    reserved = {}
    for (pool, domain, share), count in _due_now(messages, decision).items():
        queue = QueueKey(pool, domain)
        if room := delivery.reserve(queue, count):
            reserved[QueueShare(queue, share)] = room
    return reserved


def hand_over(
    delivery: ClaimOnAccept, reserved: Mapping[QueueShare, int], claimed: Mapping[QueueShare, Sequence[Claimed]]
) -> None:
    """`claimed` is the answer of the accept step; it is empty where the step failed or its answer was lost."""
    for of, room in reserved.items():
        delivery.take(of.queue, room, claimed.get(of, ()))


def _due_now(messages: Sequence[NewMessage], decision: AcceptanceDecision) -> dict[tuple[str, str, str], int]:
    """By pool, domain and share: the deliveries that are queued by the accept step and due at once."""
    counts: dict[tuple[str, str, str], int] = {}
    for message in messages:
        if message.due_at > message.accepted_at:
            continue
        pool, recipients, share = message.pool, message.recipients, message.share
        if ended := decision.ended.get(message.id):
            over = {one.number for one in ended}
            recipients = tuple(one for number, one in enumerate(recipients, 1) if number not in over)
        for _, domain in recipients:
            key = pool, domain, share
            counts[key] = counts.get(key, 0) + 1
    return counts
