"""Limit orders as requests give them and as answers show them."""

import re
from typing import Annotated, Any, Final

from msgspec import UNSET, Meta, Struct, UnsetType

from control_api.schemas import values
from control_api.schemas.answers import Count, Time
from control_api.schemas.reading import Body
from control_api.schemas.values import Value, a_text
from mta.model.errors import BadValue
from mta.model.limit_orders import NODE

_MOST: Final = 1_000_000
_ID: Final = "lim-[0-9a-f]{16}"


def _plain(value: Any) -> Any:
    """A number, as a form writes it, too. 2.0 is a whole number in JSON."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and len(value) <= 20 and value.isascii() and value.replace(".", "", 1).isdigit():
        return float(value) if "." in value else int(value)
    return value


def _read_count(value: Any, field: str) -> int:
    value = _plain(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= _MOST:
        raise BadValue(field, f"must be a whole number from 1 to {_MOST}; leave it out for no limit")
    return value


def _read_rate(value: Any, field: str) -> float:
    value = _plain(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0.01 <= value <= _MOST:
        raise BadValue(field, f"must be a number from 0.01 to {_MOST}; leave it out for no limit")
    return float(value)


def _read_ip(value: Any, field: str) -> str:
    if isinstance(value, str) and value.startswith(NODE) and values.POOL.read(value[len(NODE) :], field):
        return value
    return values.ONE_ADDRESS.read(value, field) or ""


def _read_id(value: Any, field: str) -> str:
    if not isinstance(value, str) or re.fullmatch(_ID, value) is None:
        raise BadValue(field, "is not the id of a limit order; GET /v1/limits/orders lists them")
    return value


ORDER_ID = Value(_read_id, a_text(_ID))
_COUNT = Value(_read_count, {"type": "integer", "minimum": 1, "maximum": _MOST})
_RATE = Value(_read_rate, {"type": "number", "minimum": 0.01, "maximum": _MOST})
_IP = Value(_read_ip, values.ONE_ADDRESS.schema)


class LimitOrderBody(Struct, kw_only=True, frozen=True):
    """Limits of a site; at least one of closed, connections, connections_per_minute, messages_per_minute and
    messages_per_connection."""

    site: Annotated[str, values.SITE, Meta(description="the site, as /v1/queues shows it")]
    pool: Annotated[str | None, values.ONE_POOL, Meta(description="for the mail of this pool only")] = None
    ip: Annotated[
        str | None,
        _IP,
        Meta(description="for mail from this sending IP only; `node:<name>` is the IP that a node's system chooses"),
    ] = None
    closed: Annotated[bool, Meta(description="no mail leaves")] = False
    connections: Annotated[int | None, _COUNT, Meta(description="most connections at once")] = None
    connections_per_minute: Annotated[float | None, _RATE, Meta(description="most new connections a minute")] = None
    messages_per_minute: Annotated[float | None, _RATE, Meta(description="most messages a minute")] = None
    messages_per_connection: Annotated[int | None, _COUNT, Meta(description="most messages of one connection")] = None
    duration: Annotated[float | None, values.DURATION, Meta(description="for so long; else until it is removed")] = None
    reason: Annotated[str | None, values.LINE, Meta(description="for people")] = None


LIMIT_ORDER = Body("NewLimitOrder", LimitOrderBody)


class LimitOrder(Struct, kw_only=True, frozen=True):
    """A limit order."""

    id: str
    site: str
    pool: str | UnsetType = UNSET
    ip: str | UnsetType = UNSET
    closed: bool
    connections: Annotated[Count | UnsetType, Meta(description="as ordered")] = UNSET
    connections_per_minute: float | UnsetType = UNSET
    messages_per_minute: float | UnsetType = UNSET
    messages_per_connection: Count | UnsetType = UNSET
    now: Annotated[
        dict[str, float],
        Meta(description="the values in force: less strict than ordered while the order eases; closed = 1"),
    ]
    created_at: Time | None
    until: Annotated[Time | None, Meta(description="in full until then; null: until it is removed")]
    over_at: Annotated[Time | None, Meta(description="back to normal by then, by halves")]
    created_by: str
    reason: str | UnsetType = UNSET


class LimitOrders(Struct, kw_only=True, frozen=True):
    """The limit orders of the cluster, by site."""

    orders: list[LimitOrder]


class Reaction(Struct, kw_only=True, frozen=True, rename={"for_": "for"}):
    """A reaction, as the settings of the node that answers have it."""

    name: str
    site: Annotated[str, Meta(description="empty: any, each for itself")]
    code: list[str]
    enhanced: str
    text: str
    threshold: str
    action: str
    value: str
    for_: Annotated[float, Meta(ge=0, description="seconds in full, and as many until it is back at normal")]
    scope: str
    enabled: bool


class Reactions(Struct, kw_only=True, frozen=True):
    """The reactions, and the limit orders that they have given. Pauses of theirs are in /v1/pauses."""

    reactions: list[Reaction]
    orders: list[LimitOrder]


class OrdersQuery(Struct, kw_only=True, frozen=True):
    """A selection of limit orders."""

    site: Annotated[str | None, values.SITE, Meta(description="those of this site")] = None
