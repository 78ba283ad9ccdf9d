"""Suppressions as requests give them and as answers show them."""

from typing import Annotated, Any, Final, Literal

from msgspec import UNSET, Meta, Struct, UnsetType, field

from control_api.schemas import account_values, patterns, values
from control_api.schemas.address_values import read_comparable
from control_api.schemas.answers import Count, Time
from control_api.schemas.history_queries import INSTANT_VALUE
from control_api.schemas.queries import WaitQuery
from control_api.schemas.reading import Body
from control_api.schemas.values import NO_CURSOR, Value, a_text
from mta.model.errors import BadValue
from mta.model.status import SUPPRESSED
from mta.model.suppressions import MOST_TOPIC
from mta.model.text import composed
from mta.ports.suppressions import SHARES, SuppressionPlace

MOST_LISTED: Final = 1000
MOST_IN_JSON: Final = 10_000
MOST_NAMED: Final = 10_000  # rows of an import that an answer names
_CURSOR: Final = "[0-9]{1,3}~[0-9]{1,20}~[0-9]{1,6}"


def _read_domain(value: Any, name: str) -> str:
    if not isinstance(value, str) or value.strip(values.BLANKS).startswith("*"):
        raise BadValue(name, 'is not one domain; give "example.com": its subdomains need suppressions of their own')
    return values.read_domain(value, name)


def _read_text(value: Any, name: str) -> str:
    if not value:
        raise BadValue(name, "is empty, and every suppression has an empty text in it; give a text, or leave it out")
    return values.read_line(value, name)


def _read_topic(value: Any, name: str) -> str:
    topic = composed(value.strip(values.BLANKS)) if isinstance(value, str) else ""
    if not 1 <= len(topic.encode(errors="surrogatepass")) <= MOST_TOPIC or not topic.isprintable():
        raise BadValue(name, f"is not a topic; give 1 to {MOST_TOPIC} bytes of UTF-8 that print")
    return topic


def _read_cursor(value: Any, name: str) -> SuppressionPlace:
    parts = value.split("~") if isinstance(value, str) else []
    if len(parts) != 3 or not all(part.isascii() and part.isdigit() and len(part) <= 20 for part in parts):
        raise BadValue(name, NO_CURSOR)
    place = SuppressionPlace(*map(int, parts))
    if place.share >= SHARES or place.cursor >= 1 << 64:
        raise BadValue(name, NO_CURSOR)
    return place


def cursor_of(place: SuppressionPlace) -> str:
    """A cursor that stands there."""
    return "~".join(map(str, place))


def _read_limit(value: Any, name: str) -> int:
    if value.isascii() and value.isdigit() and len(value) < 5 and 1 <= int(value) <= MOST_LISTED:
        return int(value)
    raise BadValue(name, f"is not a whole number from 1 to {MOST_LISTED}")


ADDRESS: Final = Value(read_comparable, a_text(patterns.RECIPIENT), "give an address, or a domain as domain")
DOMAIN: Final = Value(_read_domain, a_text(patterns.DOMAIN))
TOPIC: Final = Value(_read_topic, a_text(patterns.TITLE))
TEXT: Final = Value(_read_text, a_text(patterns.LINE, minLength=1, maxLength=values.MAX_TEXT))
REASON: Final = values.choice(tuple(reason.value for reason in SUPPRESSED))
_PLACE: Final = Value(_read_cursor, a_text(_CURSOR))
_LIMIT: Final = Value(_read_limit, {"type": "integer", "minimum": 1, "maximum": MOST_LISTED})


class SuppressionBody(Struct, kw_only=True, frozen=True):
    """A recipient, or all of a domain, to which no mail is sent. Give either address or domain."""

    address: Annotated[str | None, ADDRESS, Meta(description="it compares without case")] = None
    domain: Annotated[str | None, DOMAIN, Meta(description="every address of exactly this domain")] = None
    tenant: Annotated[
        str | None,
        account_values.TENANT_NAME,
        Meta(description="for the mail of this tenant only; default: that of the token, else all mail"),
    ] = None
    topic: Annotated[str | None, TOPIC, Meta(description="for mail with this topic only; default: all mail")] = None
    reason: Annotated[str | None, REASON, Meta(description="default: manual")] = None
    expires_at: Annotated[
        str | None, values.MOMENT, Meta(description="RFC 3339, or +duration; default: it never expires")
    ] = None
    expire: Annotated[str | None, values.MOMENT, Meta(description="another name of expires_at")] = None
    note: Annotated[str | None, values.LINE, Meta(description="for people")] = None
    description: Annotated[str | None, values.LINE, Meta(description="another name of note")] = None
    extended: Annotated[
        str | None, values.ENHANCED, Meta(description="the enhanced code in the event of a delivery that it ends")
    ] = None


class ImportedBody(SuppressionBody, kw_only=True, frozen=True):
    """A row of an import, as exports write it."""

    created_at: Annotated[str | None, values.MOMENT, Meta(description="default: now")] = None
    created_by: Annotated[str | None, values.LINE, Meta(description="is not read: the importer is noted")] = None


_EITHER: Final = {  # null is absent
    "oneOf": [{"required": [name], "properties": {name: {"type": "string"}}} for name in ("address", "domain")]
}
SUPPRESSION: Final = Body("NewSuppression", SuppressionBody, agreements=(_EITHER,))
IMPORTED: Final = Body("ImportedSuppression", ImportedBody, agreements=(_EITHER,))


class ImportBody(Struct, kw_only=True, frozen=True):
    """Suppressions in one body of JSON; longer lists are streams."""

    suppressions: Annotated[
        list[Any],
        values.listed({"$ref": "#/components/schemas/ImportedSuppression"}, "suppressions", MOST_IN_JSON),
        Meta(description=f"at most {MOST_IN_JSON}; if one cannot be taken, none is"),
    ]


IMPORT: Final = Body("SuppressionsToImport", ImportBody, json_only=True, items=IMPORTED)
COLUMNS: Final = (
    "address", "domain", "tenant", "topic", "reason", "expires_at", "note", "extended", "created_at", "created_by",
)  # fmt: skip


class SuppressionFilter(Struct, kw_only=True, frozen=True):
    """A selection of suppressions."""

    address: Annotated[str | None, ADDRESS, Meta(description="exactly this address, without case")] = None
    domain: Annotated[str | None, DOMAIN, Meta(description="this domain, and addresses of exactly this domain")] = None
    tenant: Annotated[str | None, account_values.TENANT_NAME, Meta(description="those of this tenant")] = None
    topic: Annotated[str | None, TOPIC, Meta(description="exactly this topic")] = None
    reason: Annotated[str | None, REASON, Meta(description="exactly this reason")] = None
    since: Annotated[int | None, INSTANT_VALUE, Meta(description="made at this time or later")] = field(
        default=None, name="from"
    )
    until: Annotated[int | None, INSTANT_VALUE, Meta(description="made before this time")] = None
    text: Annotated[str | None, TEXT, Meta(description="in the address, domain or note, without case")] = None


class SuppressionsQuery(SuppressionFilter, kw_only=True, frozen=True):
    """A selection of suppressions, and the size of a page."""

    limit: Annotated[int, _LIMIT, Meta(description="at most so many items in one answer")] = 100
    cursor: Annotated[SuppressionPlace | None, _PLACE, Meta(description="opaque, from the answer before")] = None


class RemovalQuery(SuppressionFilter, kw_only=True, frozen=True):
    """The suppressions to remove; at least one filter is needed."""

    dry_run: Annotated[bool, Meta(description="count them and remove none")] = False


class ExportQuery(SuppressionFilter, kw_only=True, frozen=True):
    """A selection of suppressions, and the form of the stream."""

    format: Annotated[
        Literal["ndjson", "csv"], Meta(description="one JSON object a line, or RFC 4180 with a header line")
    ] = "ndjson"


class AddQuery(WaitQuery, kw_only=True, frozen=True):
    """How long to wait until the suppression is in force on this node."""


class Suppression(Struct, kw_only=True, frozen=True):
    """A suppression."""

    address: str | UnsetType = UNSET
    domain: str | UnsetType = UNSET
    tenant: str | UnsetType = UNSET
    topic: str | UnsetType = UNSET
    reason: str
    expires_at: Time | UnsetType = UNSET
    note: str | UnsetType = UNSET
    extended: str | UnsetType = UNSET
    created_at: Time | None
    created_by: str | UnsetType = UNSET


class AddedSuppression(Suppression, kw_only=True, frozen=True):
    """A suppression that was made or replaced."""

    effective: Annotated[bool, Meta(description="whether it is in force in all processes of the node that answers")]


class Suppressions(Struct, kw_only=True, frozen=True):
    """A page of suppressions, in the order of the store. It may be shorter than `limit`; `cursor` is null at the
    end."""

    suppressions: list[Suppression]
    cursor: str | None


class RemovedSuppressions(Struct, kw_only=True, frozen=True):
    """How many suppressions a removal met, and how many of them it removed: none in a dry run."""

    matched: Count
    removed: Count


class BadRow(Struct, kw_only=True, frozen=True):
    """A row of an import that was not taken."""

    line: Annotated[Count, Meta(description="the first line of the row, from 1")]
    field: str | None
    message: str


class ImportedSuppressions(Struct, kw_only=True, frozen=True):
    """The account of an import: rows = added + replaced + refused."""

    rows: Count
    added: Count
    replaced: Count
    refused: Count
    errors: Annotated[list[BadRow], Meta(description=f"the refused rows, the first {MOST_NAMED}")]
    effective: Annotated[bool, Meta(description="whether all of it is in force in all processes of this node")]
