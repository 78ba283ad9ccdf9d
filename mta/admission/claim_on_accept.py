"""Claim on accept: reserves room before the accept step, and hands the deliveries that the step claimed to delivery."""

from collections.abc import Mapping, Sequence

from mta.model.mail import Claimed, NewMessage, QueueShare, queue_share
from mta.ports.admission import ClaimOnAccept
from mta.ports.queueing import AcceptanceDecision


def reserve(
    delivery: ClaimOnAccept, messages: Sequence[NewMessage], decision: AcceptanceDecision
) -> dict[QueueShare, int]:
    """How many deliveries of each share of a queue the accept step may claim; each entry must be handed over
    afterwards."""
    reserved = {}
    for of, count in _due_now(messages, decision).items():
        if room := delivery.reserve(of.queue, count):
            reserved[of] = room
    return reserved


def hand_over(
    delivery: ClaimOnAccept, reserved: Mapping[QueueShare, int], claimed: Mapping[QueueShare, Sequence[Claimed]]
) -> None:
    """`claimed` is the answer of the accept step; it is empty where the step failed or its answer was lost."""
    for of, room in reserved.items():
        delivery.take(of.queue, room, claimed.get(of, ()))


def _due_now(messages: Sequence[NewMessage], decision: AcceptanceDecision) -> dict[QueueShare, int]:
    """How many deliveries of each share of a queue the accept step queues that are due at once."""
    counts: dict[QueueShare, int] = {}
    ended = decision.ended
    for message in messages:
        if message.due_at > message.accepted_at:
            continue
        pool, recipients = message.pool, message.recipients
        share = message.share if message.tenant or message.priority else ""
        if ended and message.id in ended:
            over = {one.number for one in ended[message.id]}
            recipients = tuple(one for number, one in enumerate(recipients, 1) if number not in over)
        for _, domain in recipients:
            of = queue_share(pool, domain, share)
            counts[of] = counts.get(of, 0) + 1
    return counts
