"""IP pools as requests order them and as answers show them."""

from typing import Annotated, Any, Final, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from control_api.schemas import patterns, values
from control_api.schemas.answers import Count
from control_api.schemas.reading import Body
from control_api.schemas.values import Value, a_text
from mta.model.errors import BadValue
from mta.policy.pools import HOST_NAME, MOST_DAYS, POOL_NAME, normal_ip

_MOST_IPS: Final = 1000
_MOST_WEIGHT: Final = 1000
_MOST_MESSAGES: Final = 1_000_000_000


def _read_name(value: Any, field: str) -> str:
    if not isinstance(value, str) or not POOL_NAME.fullmatch(value):
        raise BadValue(field, "is not the name of a pool; give 1 to 63 letters, digits, _ and -")
    return value


def _read_ip(value: Any, field: str) -> str:
    found = normal_ip(value.strip()) if isinstance(value, str) else None
    if found is None:
        raise BadValue(field, "is not an IP address; give one such as 192.0.2.1")
    return found


def _read_ehlo(value: Any, field: str) -> str:
    """ "" = the default."""
    if not isinstance(value, str) or (value and not HOST_NAME.fullmatch(value)):
        raise BadValue(field, "is not a host name; give one such as mail.example.com")
    return value


def _read_ips(value: Any, field: str) -> tuple[str, ...]:
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, list) or len(items) > _MOST_IPS:
        raise BadValue(field, f"is not a list of at most {_MOST_IPS} IP addresses")
    return tuple(_read_ip(item, field) for item in items)


def _read_weight(value: Any, field: str) -> int:
    return _whole(value, field, _MOST_WEIGHT)


def _whole(value: Any, field: str, most: int) -> int:
    """From 1 to `most`."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 12:
        value = int(value)  # of a form
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        raise BadValue(field, f"is not a whole number from 1 to {most}")
    return value


def _read_warmup(value: Any, field: str) -> tuple[int, ...]:
    items = value if isinstance(value, list) else [value]
    if len(items) > MOST_DAYS:
        raise BadValue(field, f"has more than {MOST_DAYS} days")
    return tuple(_whole(item, field, _MOST_MESSAGES) for item in items)


def _read_weights(value: Any, field: str) -> dict[str, int]:
    if not isinstance(value, dict):
        raise BadValue(field, 'is not an object of weights by IP; give one such as {"192.0.2.1": 3}')
    return {_read_ip(ip, field): _read_weight(weight, f'{field}."{ip[:100]}"') for ip, weight in value.items()}


_WEIGHT_SCHEMA: Final = {"type": "integer", "minimum": 1, "maximum": _MOST_WEIGHT}
_IP_SCHEMA: Final = a_text(patterns.ADDRESS)
NAME = Value(_read_name, a_text(patterns.NAME), "give the name of a pool")
_IP = Value(_read_ip, _IP_SCHEMA, "give an IP address")
_IPS = Value(_read_ips, {"type": "array", "items": _IP_SCHEMA, "maxItems": _MOST_IPS}, repeats=True)
_WARMUP = Value(
    _read_warmup,
    {"type": "array", "items": {"type": "integer", "minimum": 1, "maximum": _MOST_MESSAGES}, "maxItems": MOST_DAYS},
    repeats=True,
)
_EHLO = Value(_read_ehlo, a_text("([A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?)?"))
_WEIGHT = Value(_read_weight, _WEIGHT_SCHEMA)
_WEIGHTS = Value(
    _read_weights,
    {
        "type": "object",
        "propertyNames": _IP_SCHEMA,
        "additionalProperties": _WEIGHT_SCHEMA,
    },
)

_Description = Annotated[str | None, values.LINE, Meta(description="for people")]
_Ips = Annotated[
    tuple[str, ...] | None, _IPS, Meta(description="its sending IPs; without any, no node serves it and its mail waits")
]
_Ehlo = Annotated[
    str | None, _EHLO, Meta(description="our name towards destinations; default smtp.hostname of each node")
]


_Weights = Annotated[dict[str, int] | None, _WEIGHTS, Meta(description="share of an IP against the others; default 1")]


_Warmup = Annotated[
    tuple[int, ...] | None,
    _WARMUP,
    Meta(description="most messages of each IP to one site, for each day of its warm-up on which it sends"),
]
_Warm = Annotated[tuple[str, ...] | None, _IPS, Meta(description="IPs of the pool that are warm already")]


class PoolBody(Struct, kw_only=True, frozen=True):
    """A pool of the cluster: a field that is absent has its default."""

    description: _Description = None
    ips: _Ips = None
    ehlo: _Ehlo = None
    weights: _Weights = None
    warmup: _Warmup = None
    warm: _Warm = None


class NamedPool(Struct, kw_only=True, frozen=True):
    """A pool that is made, or the fields of one that change."""

    name: Annotated[str, NAME, Meta(description="the pool")]
    description: _Description = None
    ips: _Ips = None
    ehlo: _Ehlo = None
    weights: _Weights = None
    warmup: _Warmup = None
    warm: _Warm = None


class PoolName(Struct, kw_only=True, frozen=True):
    """A pool."""

    name: Annotated[str, NAME, Meta(description="the pool")]


class PoolIpBody(Struct, kw_only=True, frozen=True):
    """An IP, and the pool of the cluster that it comes to."""

    name: Annotated[str, NAME, Meta(description="the pool")]
    ip: Annotated[str, _IP, Meta(description="the sending IP")]
    weight: Annotated[int | None, _WEIGHT, Meta(description="its share against the others; default 1")] = None


class PoolIpName(Struct, kw_only=True, frozen=True):
    """An IP, and the pool of the cluster that it is in."""

    name: Annotated[str, NAME, Meta(description="the pool")]
    ip: Annotated[str, _IP, Meta(description="the sending IP")]


POOL = Body("Pool", PoolBody, json_only=True)
NAMED_POOL = Body("NamedPool", NamedPool)
POOL_NAME_BODY = Body("PoolName", PoolName)
POOL_IP = Body("PoolIp", PoolIpBody)
POOL_IP_NAME = Body("PoolIpName", PoolIpName)


class PoolsQuery(Struct, kw_only=True, frozen=True):
    """The size of a page."""

    limit: Annotated[int, values.LIMIT, Meta(description="items in one answer")] = 1000
    cursor: Annotated[str | None, NAME, Meta(description="opaque, from the answer before")] = None


class PoolIpsQuery(Struct, kw_only=True, frozen=True):
    """A selection of IPs."""

    name: Annotated[str | None, NAME, Meta(description="those of this pool")] = None


class PoolShown(Struct, kw_only=True, frozen=True):
    """A pool."""

    name: str
    layer: Annotated[
        Literal["cluster", "settings"],
        Meta(description="where it is from: a pool of the cluster takes the place of one of a settings file"),
    ]
    description: str | UnsetType = UNSET
    ips: Annotated[list[str], Meta(description="its sending IPs; none in a settings file: the system chooses")]
    ehlo: str | UnsetType = UNSET
    weights: dict[str, Count] | UnsetType = UNSET
    warmup: list[Count] | UnsetType = UNSET
    warm: list[str] | UnsetType = UNSET
    nodes: Annotated[list[str], Meta(description="the nodes that serve it")]
    waits: Annotated[str | UnsetType, Meta(description="why its mail waits, where no node serves it")] = UNSET


class PoolInForce(PoolShown, kw_only=True, frozen=True):
    """A pool after a change."""

    in_force: Annotated[bool, Meta(description="whether every process that delivers has put the change in force")]
    warnings: list[str]


class PoolList(Struct, kw_only=True, frozen=True):
    """A page of the pools, by name; `cursor` is null on the last page."""

    pools: list[PoolShown]
    cursor: str | None


class PoolIp(Struct, kw_only=True, frozen=True):
    """A sending IP."""

    ip: str
    name: Annotated[str, Meta(description="its pool")]
    layer: Literal["cluster", "settings"]
    weight: Count


class PoolIps(Struct, kw_only=True, frozen=True):
    """Sending IPs, by pool."""

    poolips: list[PoolIp]
