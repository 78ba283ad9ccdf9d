"""The audit, as requests select from it and as answers show it."""

from typing import Annotated, Any, Final

from msgspec import UNSET, Meta, Struct, UnsetType, field

from control_api.schemas import account_values
from control_api.schemas.answers import Count, Time
from control_api.schemas.history_queries import INSTANT_VALUE, LIMIT_VALUE
from control_api.schemas.values import Value, a_text
from mta.model.errors import BadValue

LISTED: Final = 100
_LONGEST: Final = 200  # characters
_CURSOR: Final = r"[0-9]{1,15}-[0-9]{1,9}"


def _read_cursor(value: Any, name: str) -> str:
    ms, dash, number = value.partition("-")
    if not (dash and ms.isascii() and ms.isdigit() and number.isascii() and number.isdigit() and len(value) <= 25):
        raise BadValue(name, "is not a cursor of this list; take it from the answer before")
    return str(value)


def _read_word(value: Any, name: str) -> str:
    """Compared as it is."""
    if not 1 <= len(value) <= _LONGEST:
        raise BadValue(name, f"is not a text of 1 to {_LONGEST} characters")
    return str(value)


_WORD: Final = Value(_read_word, {"type": "string", "minLength": 1, "maxLength": _LONGEST})
_BEHIND: Final = Value(_read_cursor, a_text(_CURSOR))


class AuditQuery(Struct, kw_only=True, frozen=True):
    """A selection of entries, and the size of a page."""

    action: Annotated[
        str | None, _WORD, Meta(description="this action, such as pause.edited, or all of a kind, such as pause")
    ] = None
    of: Annotated[str | None, _WORD, Meta(description="the id or the name of what was changed")] = None
    by: Annotated[str | None, _WORD, Meta(description="the name or the id of the token that ordered it")] = None
    tenant: Annotated[str | None, account_values.TENANT_NAME, Meta(description="orders about this tenant's things")] = (
        None
    )
    since: Annotated[int | None, INSTANT_VALUE, Meta(description="at or after this time")] = field(
        default=None, name="from"
    )
    until: Annotated[int | None, INSTANT_VALUE, Meta(description="before this time")] = None
    limit: Annotated[int, LIMIT_VALUE, Meta(description="entries in one answer")] = LISTED
    cursor: Annotated[str | None, _BEHIND, Meta(description="opaque, from the answer before")] = None


class AuditEntry(Struct, kw_only=True, frozen=True):
    """One order."""

    event: Annotated[str, Meta(description="the id of the event in the log and in history")]
    at: Time
    action: str
    of: str
    by: Annotated[str, Meta(description="the name of the token, and its id in brackets")]
    token: str | UnsetType = UNSET
    client: Annotated[str | UnsetType, Meta(description="the address from which it came")] = UNSET
    tenant: str | UnsetType = UNSET
    generation: Annotated[Count | UnsetType, Meta(description="of the rule table, with this order")] = UNSET
    before: dict[str, Any] | UnsetType = UNSET
    after: dict[str, Any] | UnsetType = UNSET
    result: Annotated[
        str, Meta(description="done; ordered: noted before it was carried out; denied: the token may not do that")
    ]
    reason: str | UnsetType = UNSET


class AuditPage(Struct, kw_only=True, frozen=True):
    """A page of the audit; `cursor` is null at the end. A page may be shorter than its limit."""

    entries: list[AuditEntry]
    cursor: str | None
    older_missing: Annotated[
        str | UnsetType, Meta(description="why entries that only history has could not be read; the list is not whole")
    ] = UNSET
