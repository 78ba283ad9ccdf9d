"""Queues and waiting mail as answers list them, and what orders about them have done."""

from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from control_api.schemas.answers import Count, Seconds, Time
from control_api.schemas.message_answers import Recipient


class WhyQueued(Struct, kw_only=True, frozen=True):
    """One reason for which deliveries of a queue wait."""

    reason: str
    count: Count
    rule: str | UnsetType = UNSET
    text: str


class LastReply(Struct, kw_only=True, frozen=True):
    """How the last attempt failed: the reply of the destination, or what prevented the attempt."""

    code: int | UnsetType = UNSET
    enhanced: str | UnsetType = UNSET
    text: str
    mx: Annotated[str | UnsetType, Meta(description="the host, where it is known")] = UNSET
    at: Annotated[Time | UnsetType, Meta(description="when, where a worker has told it in the last ten minutes")] = (
        UNSET
    )


class Queue(Struct, kw_only=True, frozen=True):
    """The deliveries of one pool to one domain."""

    pool: str
    domain: str
    site: Annotated[str | None, Meta(description="the site of the domain; null: no worker has looked it up yet")] = None
    due: Count
    scheduled: Count
    claimed: Count
    held: Count
    parked: Count
    oldest: Annotated[Seconds | None, Meta(description="seconds since its oldest mail was accepted")]
    next_due: Time | None
    rate: Annotated[
        Seconds | None,
        Meta(
            description="deliveries a minute that its destination took lately; null: not known, since a "
            "worker tells the rates of its 100 fastest queues"
        ),
    ]
    last_reply: LastReply | UnsetType = UNSET
    why: list[WhyQueued]


class Queues(Struct, kw_only=True, frozen=True):
    """A page of the list of queues; `cursor` is null on the last page."""

    as_of: Time
    queues: list[Queue]
    cursor: str | None


class WaitingMail(Struct, kw_only=True, frozen=True):
    """A page of the deliveries that are queued, by pool, domain and the time of their next attempt; `cursor` is null on
    the last page. A page may be shorter than its limit."""

    as_of: Time
    messages: list[Recipient]
    cursor: str | None


class QueueWorkDone(Struct, kw_only=True, frozen=True):
    """The progress of an order about waiting mail."""

    moved: Annotated[Count, Meta(description="deliveries that were made due, or went to the other pool")]
    seen: Annotated[Count, Meta(description="selected deliveries that it looked at")]
    kept: Annotated[Count, Meta(description="of these, those that stay where they are because a rule decides there")]
    cursor: Annotated[
        str | None, Meta(description="repeat the order with it to go on; null where nothing is left to do")
    ]
