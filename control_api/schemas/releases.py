"""Staged releases of pauses, as requests order them and as answers show them."""

import contextlib
from typing import Annotated, Any, Final

from msgspec import UNSET, Meta, Struct, UnsetType

from control_api.schemas.reading import Body
from control_api.schemas.values import MAX_MATCHES, Value, a_text
from mta.model.errors import BadValue
from mta.model.units import TimeText, parse_rate

_MAX_RATE: Final = 1_000_000  # deliveries a second


def _read_rate(value: Any, field: str) -> float:
    """Deliveries a second, more than 0."""
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            value = float(value)  # a form has numbers as texts
    rate = parse_rate(value, field)
    if not 0 < rate <= _MAX_RATE:
        raise BadValue(field, f'must be more than 0 and at most {_MAX_RATE} a second; write "100/m", say')
    return rate


def _read_count(value: Any, field: str) -> int:
    """A whole number of at least 1."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 10:
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MAX_MATCHES:
        raise BadValue(field, f"is not a whole number from 1 to {MAX_MATCHES}")
    return value


_COUNT: Final = Value(
    _read_count, {"anyOf": [{"type": "integer", "minimum": 1, "maximum": MAX_MATCHES}, a_text("[1-9][0-9]{0,9}")]}
)
_RATE: Final = Value(
    _read_rate,
    {"anyOf": [a_text("[1-9][0-9]{0,5} ?/ ?[smhd]"), {"type": "number", "exclusiveMinimum": 0, "maximum": _MAX_RATE}]},
)


class StagedReleaseOrder(Struct, kw_only=True, frozen=True):
    """A part of the mail that a pause holds may go: `count` or `rate`."""

    count: Annotated[
        int | None, _COUNT, Meta(description="so many deliveries go, those that are due first before others")
    ] = None
    rate: Annotated[
        float | None,
        _RATE,
        Meta(description='deliveries go at this rate until it is stopped: "100/m", or a number a second'),
    ] = None


RELEASE: Final = Body("StagedReleaseOrder", StagedReleaseOrder)


class StagedReleaseAnswer(Struct, kw_only=True, frozen=True):
    """The last staged release of a pause."""

    id: str
    pause: str
    state: Annotated[
        str,
        Meta(
            description="running; done: it let go as many as ordered, or the pause held no more; stopped: by an order; "
            "over: the pause was lifted, disabled, converted or has expired"
        ),
    ]
    count: Annotated[int | UnsetType, Meta(description="as ordered")] = UNSET
    rate: Annotated[float | UnsetType, Meta(description="as ordered, deliveries a second")] = UNSET
    released: Annotated[int, Meta(description="deliveries that it has let go")]
    held: Annotated[int, Meta(description="deliveries that the pause holds now")]
    created_by: str
    started_at: TimeText
    ended_at: Annotated[TimeText | None, Meta(description="null: it is under way")]
