"""Reply entries as requests order them and as answers show them, and replies that no entry knows."""

import re
from typing import Annotated, Any, Final, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from control_api.schemas import values
from control_api.schemas.answers import Count, Time
from control_api.schemas.reading import Body
from control_api.schemas.values import Value, a_text
from mta.model.errors import BadValue
from mta.model.replies import ALIASES, CODE, ENHANCED, NAME, PROVIDER, category_of

_MOST_CODES: Final = 10
_LONGEST: Final = 1000


def _matching(pattern: str, words: str) -> Value:
    def read(value: Any, field: str) -> str:
        if not isinstance(value, str) or re.fullmatch(pattern, value) is None:
            raise BadValue(field, words)
        return value

    return Value(read, {"type": "string", "pattern": pattern})


def _read_text(value: Any, field: str) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= _LONGEST or not value.isprintable():
        raise BadValue(field, f"must be a printable text of 1 to {_LONGEST} characters")
    return value


def _read_codes(value: Any, field: str) -> tuple[str, ...]:
    codes = value if isinstance(value, list) else [value]
    if not 0 < len(codes) <= _MOST_CODES or not all(isinstance(one, str) and re.fullmatch(CODE, one) for one in codes):
        raise BadValue(field, f'must be 1 to {_MOST_CODES} reply codes, such as ["550", "45x"]')
    return tuple(codes)


def _read_category(value: Any, field: str) -> str:
    found = category_of(value) if isinstance(value, str) else None
    if found is None:
        raise BadValue(field, f"is not a category; there are {', '.join(ALIASES)}")
    return found


ENTRY_NAME = _matching(NAME, "must be 1 to 63 of a-z, 0-9, dots, _ and -, and begin with a letter or digit")
_TEXT = Value(_read_text, a_text(r"[ -~]{1,1000}"))
_CODES = Value(
    _read_codes,
    {"type": "array", "items": {"type": "string", "pattern": CODE}, "minItems": 1, "maxItems": _MOST_CODES},
    "give codes",
    repeats=True,
)
_NAMES: Final = sorted({*ALIASES, *(alias for own in ALIASES.values() for alias in own if alias != "other")})
_CATEGORY = Value(_read_category, {"type": "string", "enum": _NAMES}, "give a category such as rate_limited")
_OWN_CATEGORY = Value(_read_category, {"type": "string", "enum": list(ALIASES)})


class EntryBody(Struct, kw_only=True, frozen=True):
    """A reply entry; at least one of pattern, code and enhanced is needed."""

    pattern: Annotated[str | None, _TEXT, Meta(description="RE2 expression anywhere in the text, in any case")] = None
    code: Annotated[tuple[str, ...] | None, _CODES, Meta(description="codes, an x for any digit")] = None
    enhanced: Annotated[
        str | None,
        _matching(ENHANCED, 'is not an enhanced code, such as "5.1.1" or "x.1.1"'),
        Meta(description="enhanced code, an x for any class"),
    ] = None
    provider: Annotated[
        str | None,
        _matching(PROVIDER, "must be at most 63 letters, digits, blanks, dots, _ and -"),
        Meta(description="the mail provider or the program, as a label"),
    ] = None
    category: Annotated[str, _CATEGORY, Meta(description="names of PowerMTA and KumoMTA are taken, too")]
    fault: Annotated[
        Literal["recipient", "sender", "infrastructure", "peer", "ours"], Meta(description="the party at fault")
    ]
    reaction: Annotated[
        Literal["retry", "bounce", "next_host", "slow_down"],
        Meta(description="the next step for the delivery; a 4xx never bounces"),
    ]
    enabled: Annotated[bool, Meta(description="false: no entry of this name is in use")] = True
    sample: Annotated[str | None, _TEXT, Meta(description="a real reply that it is made for")] = None
    source: Annotated[str | None, _TEXT, Meta(description="the page or the log that the sample is from")] = None


ENTRY = Body("ReplyEntry", EntryBody)


class Entry(Struct, kw_only=True, frozen=True):
    """A reply entry."""

    name: str
    layer: Annotated[
        Literal["cluster", "settings", "shipped"],
        Meta(description="where it is from; a name in an earlier layer hides those of later ones"),
    ]
    pattern: str | UnsetType = UNSET
    code: list[str] | UnsetType = UNSET
    enhanced: str | UnsetType = UNSET
    provider: str | UnsetType = UNSET
    category: str
    fault: str
    reaction: str
    enabled: bool
    sample: str | UnsetType = UNSET
    source: str | UnsetType = UNSET


class Entries(Struct, kw_only=True, frozen=True):
    """A page of entries, in the order in which they are asked; `cursor` is null on the last page."""

    replies: list[Entry]
    cursor: str | None


class UnknownReply(Struct, kw_only=True, frozen=True):
    """Replies that no entry knows, counted together."""

    provider: Annotated[str, Meta(description="the domain of the host that gave it")]
    code: Count
    enhanced: str | UnsetType = UNSET
    text: Annotated[str, Meta(description="with placeholders for addresses, numbers and ids")]
    count: Count
    last_at: Time | None


class UnknownReplies(Struct, kw_only=True, frozen=True):
    """The most frequent first."""

    replies: list[UnknownReply]


class EntriesQuery(Struct, kw_only=True, frozen=True):
    """A selection of entries, and the size of a page."""

    category: Annotated[str | None, _OWN_CATEGORY, Meta(description="entries of this category")] = None
    layer: Annotated[
        Literal["cluster", "settings", "shipped"] | None, Meta(description="entries of this layer only")
    ] = None
    limit: Annotated[int, values.LIMIT, Meta(description="items in one answer")] = 1000
    cursor: Annotated[str | None, ENTRY_NAME, Meta(description="opaque, from the answer before")] = None


class UnknownQuery(Struct, kw_only=True, frozen=True):
    """The size of the answer."""

    limit: Annotated[int, values.LIMIT, Meta(description="at most so many")] = 1000
