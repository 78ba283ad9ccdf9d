"""The queues as answers list them."""

from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from control_api.schemas.answers import Count, Seconds, Time


class WhyQueued(Struct, kw_only=True, frozen=True):
    """One reason for which deliveries of a queue wait."""

    reason: str
    count: Count
    rule: str | UnsetType = UNSET
    text: str


class Queue(Struct, kw_only=True, frozen=True):
    """The deliveries of one pool to one domain."""

    pool: str
    domain: str
    due: Count
    scheduled: Count
    claimed: Count
    held: Count
    oldest: Annotated[Seconds | None, Meta(description="seconds since its oldest mail was accepted")]
    next_due: Time | None
    why: list[WhyQueued]


class Queues(Struct, kw_only=True, frozen=True):
    """A page of the list of queues; `cursor` is null on the last page."""

    as_of: Time
    queues: list[Queue]
    cursor: str | None
