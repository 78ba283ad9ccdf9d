"""From TOML values to settings structs, refusing what does not fit: unknown key, wrong type, out of bounds."""

import difflib
import re
import typing
from collections.abc import Callable, Mapping
from typing import Any, Literal

from msgspec import NODEFAULT, Struct

from mta.model.errors import BadValue
from mta.model.settings import Address, Unit
from mta.model.units import format_duration, format_size, parse_address, parse_duration, parse_rate, parse_size
from mta.settings_file.fields import Field, fields_of, item_of

Path = tuple[str, ...]

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
_NAMES = {bool: "true or false", int: "a whole number", float: "a number", str: "a string"}
_PARSERS: dict[Unit, Callable[[Any, str], float | str]] = {
    Unit.DURATION: parse_duration,
    Unit.SIZE: parse_size,
    Unit.RATE: parse_rate,
    Unit.TEXT: lambda value, field: str(value),
}


def key_text(path: Path) -> str:
    """The key as one writes it: parts that are not plain words in quotes."""
    return ".".join(part if _BARE_KEY.fullmatch(part) else f'"{part}"' for part in path)


def to_struct(struct: type[Struct], value: Any, faults: list[BadValue], path: Path = ()) -> Any:
    """`value` as a `struct`. A key that it leaves out, or whose value is added to `faults`, takes its default."""
    known = fields_of(struct)
    if not isinstance(value, Mapping):
        faults.append(BadValue(key_text(path), f"must be a table; write [{key_text(path)}] and its keys below"))
        value = {}
    for name in value:
        if name not in known:
            faults.append(BadValue(key_text((*path, name)), f"unknown key; {_closest(name, known)}"))
    made = {}
    for name, field in known.items():
        try:
            if name in value:
                made[field.attribute] = _value(field, field.type, value[name], faults, (*path, name))
        except BadValue as fault:
            faults.append(fault)
        if field.attribute not in made and field.default is NODEFAULT:
            made[field.attribute] = _without(field, name in value, faults, (*path, name))
    return struct(**made)


def _without(field: Field, is_bad: bool, faults: list[BadValue], path: Path) -> Any:
    """A table that was not given has its defaults; any other key that has none must be given."""
    if isinstance(field.type, type) and issubclass(field.type, Struct):
        return to_struct(field.type, {}, faults, path)
    if not is_bad:
        faults.append(BadValue(key_text(path), "is missing"))
    choices = typing.get_args(field.type)
    return choices[0] if choices else field.type()


def _value(field: Field, kind: Any, value: Any, faults: list[BadValue], path: Path) -> Any:
    """Raises BadValue; the faults of items of lists and tables are added to `faults`, and the items left out."""
    origin = typing.get_origin(kind)
    if origin is tuple:
        items = value if isinstance(value, list) else [value]  # a list accepts a single value
        if len(items) < field.min_length:
            raise BadValue(key_text(path), "must not be empty")
        return tuple(_items(field, item_of(kind), [(path, item) for item in items], faults).values())
    if origin is dict:
        if not isinstance(value, Mapping):
            raise BadValue(key_text(path), "must be a table")
        made = _items(field, item_of(kind), [((*path, key), item) for key, item in value.items()], faults)
        return {key: made[at] for at, key in enumerate(value) if at in made}
    if origin is Literal:
        return _one_of(typing.get_args(kind), value, path)
    if kind is Address:
        return parse_address(value, key_text(path))
    if isinstance(kind, type) and issubclass(kind, Struct):
        return to_struct(kind, value, faults, path)
    return _plain(field, kind, value, path)


def _items(field: Field, kind: Any, items: list[tuple[Path, Any]], faults: list[BadValue]) -> dict[int, Any]:
    """The items that could be converted, by their index; the faults of the others go to `faults`."""
    made = {}
    for at, (path, item) in enumerate(items):
        try:
            made[at] = _value(field, kind, item, faults, path)
        except BadValue as fault:
            faults.append(fault)
    return made


def _plain(field: Field, kind: type[Any], value: Any, path: Path) -> Any:
    if field.unit is not None:
        if not isinstance(value, (str, int, float)):
            raise BadValue(key_text(path), f"must be a {field.unit.value}, not {_shown(value)}")
        value = _PARSERS[field.unit](value, key_text(path))
    elif kind is float and type(value) is int:
        value = float(value)
    if type(value) is not kind:
        fix = f'; write "{value}"' if kind is str and isinstance(value, (int, float)) else ""
        raise BadValue(key_text(path), f"must be {_NAMES[kind]}, not {_shown(value)}{fix}")
    if isinstance(value, str) and any(ord(char) < 32 or ord(char) == 127 for char in value):
        raise BadValue(key_text(path), "must not contain control characters")
    _within(field, value, path)
    return value


def _within(field: Field, value: Any, path: Path) -> None:
    if not isinstance(value, str) and field.least is not None and not value >= field.least:
        raise BadValue(key_text(path), f"must be at least {_in_unit(field, field.least)}")
    if not isinstance(value, str) and field.most is not None and not value <= field.most:
        raise BadValue(key_text(path), f"must be at most {_in_unit(field, field.most)}")


def _one_of(choices: tuple[str, ...], value: Any, path: Path) -> str:
    for choice in choices:
        if value == choice:
            return choice
    raise BadValue(key_text(path), f"{_shown(value)} is not one of {', '.join(choices)}")


def _in_unit(field: Field, bound: float) -> str:
    if field.unit is Unit.DURATION:
        return format_duration(bound)
    return format_size(int(bound)) if field.unit is Unit.SIZE else f"{bound:g}"


def _closest(name: str, known: Mapping[str, Field]) -> str:
    near = difflib.get_close_matches(name, known, 1, 0.5)
    return f"did you mean {near[0]}?" if near else f"known here: {', '.join(known)}"


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, dict):
        return "a table"
    return repr(value)[:80]
