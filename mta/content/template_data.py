"""The data of a mail that is made from a template, as the template engine reads it.

Values are handed to the engine as text in its own syntax, of which JSON is a part, and never as Python objects: the
engine would let a template call the methods of these (`data.pop()`), without counting the work.
"""

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from mta.model.errors import BadValue

MAX_DATA: Final = 64 * 1024  # bytes of JSON of the data of one mail
TENANT: Final = "tenant"  # the name under which a template finds what is kept of the tenant
_DEEPEST: Final = 16  # lists and objects in one another
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_RESERVED: Final = frozenset(("true", "false", "none", "True", "False", "None", "loop", "self", "in", "not", TENANT))
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_MOST_WHOLE: Final = 2**63 - 1
_SUSPECT: Final = re.compile(rb"null|\\u00|\\[bf]|[\[{]")  # where a value must be looked at piece by piece

_encode: Final = msgspec.json.Encoder().encode

Assignments = Mapping[str, str]  # name -> the statement that sets it


def assignments(data: Mapping[str, Any], field: str) -> Assignments:
    """The values of JSON, null left out, since a name with null has no value. A name that is no identifier is left out,
    too: no template can name it. Raises BadValue, which names `field` and the name in it."""
    found = {}
    room = MAX_DATA
    for name, value in data.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            continue
        where = f"{field}.{name}"
        if name in _RESERVED:
            raise BadValue(where, "is a name of the template language, or of the tenant; give it another name")
        raw = _raw(value, where)
        if raw is None:
            continue
        room -= len(raw)
        if room < 0:
            raise BadValue(field, f"has more than {MAX_DATA >> 10} KiB")
        found[name] = f"{{% set {name} = {raw} %}}"
    return found


def tenant_assignment(fields: Mapping[str, Any]) -> Assignments:
    """The same of what is kept of the tenant."""
    return {TENANT: f"{{% set {TENANT} = {_encode(dict(fields)).decode()} %}}"}


def source_of(*layers: Assignments) -> str:
    """The statements of all layers; a name in a later layer hides that of earlier ones."""
    merged: dict[str, str] = {}
    for layer in layers:
        merged.update(layer)
    return "".join(merged.values())


def _raw(value: Any, field: str) -> str | None:
    """None: it is null. Raises BadValue."""
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    try:
        raw = _encode(value)
        if _SUSPECT.search(raw) is not None or isinstance(value, int | float):
            raw = _encode(_clean(value, field, 0))
        return raw.decode()
    except (UnicodeEncodeError, OverflowError, RecursionError, TypeError, ValueError) as error:
        if isinstance(error, BadValue):
            raise
        raise BadValue(field, "is no value that mail can show: text, number, true, false, list or object") from None


def _clean(value: Any, field: str, depth: int) -> Any:
    """The value without null. Raises BadValue."""
    if isinstance(value, str):
        if _CONTROL.search(value) is not None:
            raise BadValue(field, "has a control character; mail cannot show it")
        return value
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        if abs(value) > _MOST_WHOLE:
            raise BadValue(field, "is a number of more than 63 bits; give it as text")
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise BadValue(field, "is no finite number")
        return value
    if depth == _DEEPEST:
        raise BadValue(field, f"is nested deeper than {_DEEPEST} lists and objects")
    if isinstance(value, dict):
        return {name: _clean(item, field, depth + 1) for name, item in value.items() if item is not None}
    if isinstance(value, Iterable):
        return [_clean(item, field, depth + 1) for item in value if item is not None]
    raise BadValue(field, "is no value of JSON")
