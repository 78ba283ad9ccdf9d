"""The kinds of values of accounts: names and scopes of tokens, names and terms of tenants."""

import json
import math
import re
from typing import Any, Final

from control_api.schemas import patterns
from control_api.schemas.values import Value, a_text, read_domains, read_line
from mta.model.errors import BadValue
from mta.model.quotas import MOST, Quota
from mta.model.rules import TenantVar
from mta.model.scopes import Scope
from mta.model.shares import TENANT

_MAX_TITLE: Final = 64  # bytes
_MAX_WEIGHT: Final = 100
_MAX_SENDERS: Final = 100
_MAX_VARS: Final = 50
_MAX_VARS_SIZE: Final = 8192  # bytes of JSON
_VAR_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}", re.ASCII)
_VAR: Final = {
    "anyOf": [
        a_text(patterns.LINE, maxLength=100),
        {"type": "boolean"},
        {"type": "integer", "minimum": -(10**9), "maximum": 10**9},
    ]
}
_BOUNDS: Final = ("per_hour", "per_day")


def _read_title(value: Any, field: str) -> str:
    """A name that stands in lists, in the log and beside a rule."""
    name = read_line(value, field).strip()
    if not 1 <= len(name.encode()) <= _MAX_TITLE:
        raise BadValue(field, f"is not a name; give 1 to {_MAX_TITLE} bytes of UTF-8 that print")
    return name


def _read_tenant(value: Any, field: str) -> str:
    if not isinstance(value, str) or not TENANT.fullmatch(value):
        raise BadValue(
            field, "is not a tenant's name: 1 to 63 letters, digits, - and _, and begins with a letter or digit"
        )
    return value


def _read_weight(value: Any, field: str) -> int:
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value)  # of a form
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # 2.0 is a whole number in JSON
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= _MAX_WEIGHT:
        raise BadValue(field, f"is not a whole number from 1 to {_MAX_WEIGHT}")
    return value


def _read_bound(value: Any, field: str) -> int:
    """0 = there is none."""
    if value is None:
        return 0
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # 2.0 is a whole number in JSON
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MOST:
        raise BadValue(field, f"is not a whole number from 1 to {MOST}; leave it out for no bound")
    return value


def _read_quota(value: Any, field: str) -> Quota:
    """A bound that is absent or null does not exist."""
    if not isinstance(value, dict):
        raise BadValue(field, 'is not an object of bounds; give one such as {"per_hour": 10000, "per_day": 50000}')
    for name in value:
        if name not in _BOUNDS:
            raise BadValue(f"{field}.{name[:100]}", f"is not a bound of a quota; there are {', '.join(_BOUNDS)}")
    quota = Quota(*(_read_bound(value.get(name), f"{field}.{name}") for name in _BOUNDS))
    if quota == Quota():
        raise BadValue(field, f"has no bound; give {' or '.join(_BOUNDS)}, or leave it out")
    return quota


def _read_sender_domains(value: Any, field: str) -> tuple[str, ...]:
    """Sorted and each once."""
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, list) or len(items) > _MAX_SENDERS or not all(isinstance(item, str) for item in items):
        raise BadValue(field, f"is not a list of at most {_MAX_SENDERS} domains")
    return tuple(sorted({read_domains(item, field) for item in items}))


def _read_vars(value: Any, field: str) -> tuple[tuple[str, TenantVar], ...]:
    """Sorted by name."""
    if not isinstance(value, dict) or len(value) > _MAX_VARS:
        raise BadValue(field, f"is not an object of at most {_MAX_VARS} values by name")
    for name, one in value.items():
        where = f"{field}.{name[:64]}"
        if not _VAR_NAME.fullmatch(name):
            raise BadValue(where, "is not a name: 1 to 64 letters, digits and _, and no digit first")
        if not isinstance(one, str | bool | int | float) or (isinstance(one, float) and not math.isfinite(one)):
            raise BadValue(where, "is not a text, a number, true or false")
        if isinstance(one, str) and not one.isprintable():
            raise BadValue(where, "is not one line of printable text")
        if isinstance(one, int) and abs(one) >= 2**63:
            raise BadValue(where, "is a number of more than 63 bits; give it as text")
    if len(json.dumps(value, ensure_ascii=False).encode()) > _MAX_VARS_SIZE:
        raise BadValue(field, f"has more than {_MAX_VARS_SIZE >> 10} KiB")
    return tuple(sorted(value.items()))


def _read_scopes(value: Any, field: str) -> tuple[str, ...]:
    """Each once, in the order in which they are defined."""
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, list) or not items:
        raise BadValue(field, f"is not a list of scopes; there are {', '.join(Scope)}")
    for item in items:
        if not isinstance(item, str) or item not in frozenset(Scope):
            raise BadValue(field, f"names a scope that does not exist; there are {', '.join(Scope)}")
    return tuple(scope.value for scope in Scope if scope in items)


TITLE = Value(_read_title, a_text(patterns.TITLE), "give a name")
TENANT_NAME = Value(_read_tenant, a_text(patterns.NAME), "give a tenant")
SCOPES = Value(
    _read_scopes,
    {"type": "array", "items": {"type": "string", "enum": [scope.value for scope in Scope]}, "minItems": 1},
    f"give a list of {', '.join(Scope)}",
    repeats=True,
)

WEIGHT = Value(_read_weight, {"type": "integer", "minimum": 1, "maximum": _MAX_WEIGHT}, "give a whole number")
_BOUND: Final = {"type": ["integer", "null"], "minimum": 1, "maximum": MOST}
QUOTA = Value(
    _read_quota,
    {
        "type": "object",
        "properties": dict.fromkeys(_BOUNDS, _BOUND),
        "additionalProperties": False,
        "anyOf": [{"required": [name], "properties": {name: {"type": "integer"}}} for name in _BOUNDS],
    },
)
SENDER_DOMAINS = Value(
    _read_sender_domains,
    {"type": "array", "items": a_text(patterns.DOMAIN_OR_BELOW), "maxItems": _MAX_SENDERS},
    repeats=True,
)
VARS = Value(
    _read_vars,
    {
        "type": "object",
        "propertyNames": a_text("[A-Za-z_][A-Za-z0-9_]{0,63}"),
        "additionalProperties": _VAR,
        "maxProperties": _MAX_VARS,
    },
)
