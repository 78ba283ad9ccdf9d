"""The query strings of lists, exports and statistics, and the kinds of values that only they carry."""

import re
from typing import Annotated, Any, Final, Literal

from msgspec import Meta, Struct, field

from control_api.schemas import values
from control_api.schemas.patterns import HOURS, INSTANT
from control_api.schemas.text_values import A_RECIPIENT, RECIPIENT, RULE_ID, matching
from control_api.schemas.values import Value, a_text
from mta.model.errors import BadValue
from mta.model.status import Status
from mta.model.units import parse_duration, parse_time

MOST_LISTED: Final = 1000
LISTED: Final = 100


def _read_instant(value: Any, name: str) -> int:
    """Unix milliseconds."""
    if value.startswith("+"):
        raise BadValue(name, "is not a time in the past; give RFC 3339, such as 2026-01-31T12:00:00Z")
    return parse_time(value, name, 0)


def _read_limit(value: Any, name: str) -> int:
    if value.isascii() and value.isdigit() and len(value) < 5 and 1 <= int(value) <= MOST_LISTED:
        return int(value)
    raise BadValue(name, f"is not a whole number from 1 to {MOST_LISTED}")


def _read_hours(value: Any, name: str) -> float:
    """Seconds."""
    if not re.fullmatch(HOURS, value, re.ASCII):
        raise BadValue(name, 'is not a number of hours or days, such as "1h" or "7d"')
    return parse_duration(value, name)


INSTANT_VALUE: Final = Value(_read_instant, a_text(INSTANT))
LIMIT_VALUE: Final = Value(_read_limit, {"type": "integer", "minimum": 1, "maximum": MOST_LISTED})
_SENDER: Final = matching(f"({A_RECIPIENT})?", "is not an address of at most 320 printable ASCII characters")
_PAGE: Final = matching("[0-9A-Za-z_.~-]{1,200}", "is not a cursor of this list; take it from the answer before")
_HOURS: Final = Value(_read_hours, a_text(HOURS))
_GROUPS: Final = values.several(values.choice(("pool", "domain", "site", "tenant", "category", "tag", "tls", "link")))
_A_CATEGORY: Final = matching("[a-z_]{1,40}", "is not a category")
_STATUSES: Final = values.several(values.choice(Status, "is not a status; there are"))

_ENDS: Final = (
    "delivered", "intercepted", "bounced", "expired", "canceled", "filtered", "throttled", "simulated", "queued",
    "held", "uncertain",
)  # fmt: skip
Class = Literal[
    "delivered", "before", "after", "intercepted", "bounced", "expired", "canceled", "filtered", "throttled",
    "simulated", "queued", "held", "uncertain",
]  # fmt: skip
ListFormat = Literal["json", "ndjson", "csv"]


class ExportQuery(Struct, kw_only=True, frozen=True):
    """The form of a stream of records."""

    format: Annotated[
        ListFormat, Meta(description="json: one array; ndjson: one object a line; csv: RFC 4180 with a header line")
    ] = "json"


class DeliveriesQuery(ExportQuery, kw_only=True, frozen=True):
    """The class of deliveries, and the form of their records."""

    wanted: Annotated[
        Class | None,
        values.choice(_ENDS),
        Meta(description="only deliveries of this class"),
    ] = field(default=None, name="class")


class RuleDeliveriesQuery(ExportQuery, kw_only=True, frozen=True):
    """The class of deliveries of a rule, and the form of their records."""

    wanted: Annotated[
        Class | None,
        values.choice((_ENDS[0], "before", "after", *_ENDS[1:])),
        Meta(
            description="only deliveries of this class; before and after: delivered before the rule was effective, and "
            "past the final dot then; default: those that the rule met"
        ),
    ] = field(default=None, name="class")  # fmt: skip


class MessagesQuery(Struct, kw_only=True, frozen=True):
    """A selection of deliveries, the form of the list, and the size of a page."""

    tag: Annotated[str | None, values.TAG, Meta(description="exactly this tag")] = None
    statuses: Annotated[
        tuple[Status, ...], _STATUSES, Meta(description="this status; may repeat, and one of them suffices")
    ] = field(default=(), name="status")
    recipient: Annotated[str | None, RECIPIENT, Meta(description="exactly this recipient, without case")] = None
    sender: Annotated[
        str | None, _SENDER, Meta(description="exactly this envelope sender, without case; empty is the null sender")
    ] = None
    domain: Annotated[str | None, values.DOMAIN, Meta(description="exactly this domain, in A-labels")] = None
    pool: Annotated[str | None, values.POOL, Meta(description="exactly this pool")] = None
    site: Annotated[
        str | None, values.SITE, Meta(description="this site: the provider that takes the mail of the domain")
    ] = None
    tenant: Annotated[str | None, values.ONE_TENANT, Meta(description="only mail of this tenant")] = None
    rule: Annotated[str | None, RULE_ID, Meta(description="the rule that decided last")] = None
    category: Annotated[str | None, _A_CATEGORY, Meta(description="the category of the last reply")] = None
    since: Annotated[int | None, INSTANT_VALUE, Meta(description="accepted at this time or later")] = field(
        default=None, name="from"
    )
    until: Annotated[int | None, INSTANT_VALUE, Meta(description="accepted before this time")] = None
    limit: Annotated[int | None, LIMIT_VALUE, Meta(description=f"records; default {LISTED}, in a stream all")] = None
    cursor: Annotated[str | None, _PAGE, Meta(description="opaque, from the answer before")] = None
    format: Annotated[
        Literal["json", "ndjson", "csv", "pmta"],
        Meta(
            description="json: a page; else all that is selected as a stream: ndjson, csv, or pmta, which is "
            "PowerMTA's accounting of what has ended"
        ),
    ] = "json"
    intercepted_as: Annotated[
        Literal["fe", "b"], Meta(description="with pmta: the type of deliveries that a forced error ended")
    ] = "fe"


class StatsQuery(Struct, kw_only=True, frozen=True):
    """Groups, periods and span of statistics."""

    by: Annotated[
        tuple[str, ...],
        _GROUPS,
        Meta(description="by pool, domain, site, tenant, category or tag; may repeat. Or tls alone, or link alone"),
    ] = ()
    interval: Annotated[
        float | None, _HOURS, Meta(description='periods of whole hours, such as "1h"; default: one for the whole span')
    ] = None
    since: Annotated[
        int | None, INSTANT_VALUE, Meta(description="from the hour of this time; default: 24 h before until")
    ] = field(default=None, name="from")
    until: Annotated[
        int | None, INSTANT_VALUE, Meta(description="to the end of the hour of this time; default: now")
    ] = None
    tenant: Annotated[str | None, values.ONE_TENANT, Meta(description="only mail of this tenant")] = None
    limit: Annotated[int, LIMIT_VALUE, Meta(description="so many groups")] = MOST_LISTED
