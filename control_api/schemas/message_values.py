"""The values of selectors that ask for the message, and of those that may be lists of domains."""

from typing import Any, Final

from control_api.schemas import patterns
from control_api.schemas.address_values import read_comparable
from control_api.schemas.values import BLANKS, Schema, Value, a_text, read_domain, read_domains, selector
from mta.model.errors import BadValue
from mta.policy.addresses import ANY_AT
from mta.policy.schedule import parse_schedule, parse_timezone

MAX_DOMAINS: Final = 250  # of one selector
_LONGEST: Final = 500  # characters of a schedule

_DAY: Final = "(Mo|Tu|We|Th|Fr|Sa|Su)"
_DAYS: Final = rf"{_DAY}(-{_DAY})?(,{_DAY}(-{_DAY})?){{0,6}}"
_TIME: Final = rf"({_DAYS} )?([01][0-9]|2[0-3]):[0-5][0-9]-(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)"
_SCHEDULE: Final = rf"{_TIME}(; {_TIME}){{0,5}}"
_TIMEZONE: Final = "[A-Za-z][A-Za-z0-9_+-]{1,30}(/[A-Za-z0-9_+-]{1,30}){0,2}"


def _read_names(value: Any, field: str) -> str | tuple[str, ...] | None:
    """A domain, or a list of them: sorted and each once; a list of one is that one."""
    if value in ("*", ["*"]):
        return None
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, list) or not items or len(items) > MAX_DOMAINS:
        raise BadValue(
            field, f"is no domain and no list of 1 to {MAX_DOMAINS} domains; leave the field out to match anything"
        )
    if not all(isinstance(item, str) and item for item in items):
        raise BadValue(field, "is not a text of at least one character, or a list of such texts")
    found = sorted({read_domains(item, field) for item in items})
    return found[0] if len(found) == 1 else tuple(found)


def _read_sender(value: str, field: str) -> str:
    """An address in the form in which rules compare it, or `*@domain`."""
    value = value.strip(BLANKS)
    if value.startswith(ANY_AT):
        return ANY_AT + read_domain(value[len(ANY_AT) :], field)
    try:
        return read_comparable(value, field)
    except BadValue as bad:
        if bad.field == field and "@" not in value:
            raise BadValue(field, "is not an address; write local-part@domain, or *@domain") from None
        raise


def _read_schedule(value: Any, field: str) -> str:
    if not isinstance(value, str) or len(value) > _LONGEST:
        raise BadValue(field, f'is not a text of at most {_LONGEST} characters; give one such as "Mo-Fr 22:00-08:00"')
    return parse_schedule(value, field)


def _read_timezone(value: Any, field: str) -> str:
    if not isinstance(value, str):
        raise BadValue(field, 'is no IANA time zone; give a name such as "Europe/Berlin" or "UTC"')
    return parse_timezone(value.strip(BLANKS), field)


def _read_moment_or_now(value: Any, field: str) -> str:
    """The text as it was given: only an order knows which instant "now" is."""
    if not isinstance(value, str):
        raise BadValue(field, 'is not a time; give RFC 3339, such as "2030-01-31T12:00:00Z", or "now"')
    return value.strip(BLANKS)


_NAME_LIST: Final[Schema] = {
    "type": "array",
    "items": a_text(patterns.DOMAIN_OR_BELOW),
    "minItems": 1,
    "maxItems": MAX_DOMAINS,
}

NAMES = Value(
    _read_names, {"anyOf": [_NAME_LIST, a_text(f"{patterns.DOMAIN_OR_BELOW}|{patterns.ANYTHING}")]}, repeats=True
)
ONE_SENDER = selector(Value(_read_sender, a_text(patterns.SENDER)))
ONE_RECIPIENT = selector(Value(read_comparable, a_text(patterns.RECIPIENT)))
SCHEDULE = Value(_read_schedule, a_text(_SCHEDULE))
TIMEZONE = Value(_read_timezone, a_text(_TIMEZONE))
ONE_MOMENT = selector(Value(_read_moment_or_now, a_text(patterns.MOMENT_OR_NOW)))
