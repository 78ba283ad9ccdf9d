"""Lists and histories as answers show them."""

from typing import Annotated, Any

from msgspec import UNSET, Meta, Struct, UnsetType, field

from control_api.schemas.answers import Count, Time
from control_api.schemas.message_answers import Recipient


class MessageList(Struct, kw_only=True, frozen=True):
    """A page of deliveries, the newest first. Every event up to `as_of` is in it; `cursor` is null at the end."""

    as_of: Time
    messages: list[Recipient]
    cursor: str | None


class MessageHistory(Struct, kw_only=True, frozen=True):
    """Every event of a message or a delivery, in order, as the delivery log has them; the last attempt that failed has
    its SMTP session, too. Every event up to `as_of` is in it."""

    id: str
    as_of: Time
    events: list[dict[str, Any]]


class Stats(Struct, kw_only=True, frozen=True):
    """The figures of one group in one period; `deferred` counts attempts."""

    begins: Time
    tag: str | UnsetType = UNSET
    pool: str | UnsetType = UNSET
    domain: str | UnsetType = UNSET
    site: Annotated[
        str | UnsetType, Meta(description="the newest one of each domain; empty: no attempt has been made yet")
    ] = UNSET
    tenant: str | UnsetType = UNSET
    category: Annotated[str | UnsetType, Meta(description="of failures; empty: of everything else")] = UNSET
    accepted: Count = 0
    delivered: Count = 0
    bounced: Count = 0
    expired: Count = 0
    intercepted: Count = 0
    canceled: Count = 0
    filtered: Count = 0
    throttled: Count = 0
    simulated: Count = 0
    deferred: Count = 0
    rejected: Count = 0
    undone: Count = 0
    opened: Annotated[Count, Meta(description="opens of tracked mail, each time and by whomever")] = 0
    clicked: Annotated[Count, Meta(description="clicks in tracked mail, each time and by whomever")] = 0


class TlsSessions(Struct, kw_only=True, frozen=True):
    """Connections to the hosts of a domain on one UTC day that came to the same result, in the words of RFC 8460;
    `clear`: the host offers no TLS, and clear text was allowed."""

    begins: Time
    domain: str
    policy: str  # "sts" or "no-policy-found"
    mx: str | UnsetType = UNSET  # absent: the policy itself could not be had
    result: str
    sessions: Count


class TlsStatistics(Struct, kw_only=True, frozen=True):
    """The results of TLS from the day of `from` to that of `until`, the newest day first and in it the most sessions
    first; `truncated`: there are more than were asked for."""

    as_of: Time
    since: Time = field(name="from")
    until: Time
    stats: list[TlsSessions]
    truncated: bool


class LinkClicks(Struct, kw_only=True, frozen=True):
    """The clicks on one link of tracked mail on one UTC day."""

    begins: Time
    tenant: Annotated[str, Meta(description="empty: mail of no tenant")]
    link: Annotated[str, Meta(description="its address; * = more links than are counted one by one")]
    clicked: Annotated[Count, Meta(description="by readers, as far as one can tell")]
    machine_clicked: Annotated[Count, Meta(description="by machines")]


class LinkStatistics(Struct, kw_only=True, frozen=True):
    """The clicks from the day of `from` to that of `until`, the newest day first and in it the most clicks first;
    `truncated`: there are more than were asked for."""

    as_of: Time
    since: Time = field(name="from")
    until: Time
    stats: list[LinkClicks]
    truncated: bool


class Statistics(Struct, kw_only=True, frozen=True):
    """The figures between two whole hours. Every event up to `as_of` is in them; `truncated`: there are more groups
    than were asked for."""

    as_of: Time
    since: Time = field(name="from")
    until: Time
    stats: list[Stats]
    truncated: bool
    counted_from: Annotated[
        Time | UnsetType,
        Meta(description="by tag: deliveries accepted before this time are not all counted; absent: all are"),
    ] = UNSET
