"""Included files: `include = ["shaping.toml"]` at the top of a settings file, whose own keys win over theirs."""

import tomllib
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from mta.model.errors import SettingsError

KEY: Final = "include"
_LISTED: Final = "reactions"  # a list of tables: those of an included file stand behind those of the file
SHIPPED: Final = ("shaping.toml",)  # found beside this module, where the settings file has none of that name


def read_toml(path: Path) -> dict[str, Any]:
    """Raises SettingsError."""
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror}; give an existing file with --config") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{path}: is not UTF-8; save it as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path}: is not TOML: {error}") from None


def with_included(values: dict[str, Any], base: Path, source: str) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """The values without `include` and with those of the included files, and each of these by its name. Names are
    relative to the folder `base`; a later file wins over an earlier one. Raises SettingsError."""
    names = values.pop(KEY, [])
    names = [names] if isinstance(names, str) else names
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise SettingsError(f'{source}: {KEY}: must be a list of files; write {KEY} = ["shaping.toml"]')
    included: dict[str, dict[str, Any]] = {}
    merged: dict[str, Any] = {}
    for name in names:
        found = included[name] = _read(base, name, source)
        if KEY in found:
            raise SettingsError(f"{name}: {KEY}: an included file includes no other; include it in {source}")
        merged = _merged(merged, found)
    return _merged(merged, values), included


def _read(base: Path, name: str, source: str) -> dict[str, Any]:
    path = base / name
    if not path.exists() and name in SHIPPED:
        return tomllib.loads(files(__package__).joinpath(name).read_text(encoding="utf-8"))
    if not path.exists():
        raise SettingsError(f"{source}: {KEY}: there is no file {path}; name a file beside the settings file")
    return read_toml(path)


def _merged(lower: Mapping[str, Any], upper: Mapping[str, Any]) -> dict[str, Any]:
    made = dict(lower)
    for key, value in upper.items():
        below = made.get(key)
        if key == _LISTED and below is not None:
            upper_ones, lower_ones = _as_list(value), _as_list(below)
            names = {_name(one) for one in upper_ones}
            made[key] = [*upper_ones, *(one for one in lower_ones if _name(one) not in names)]
        else:
            made[key] = _merged(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return made


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]  # a list accepts a single value


def _name(table: Any) -> Any:
    """The name of a reaction; one without a name is like no other."""
    return table.get("name") or id(table) if isinstance(table, Mapping) else id(table)


def source_of(field: tuple[str, ...], own: Mapping[str, Any], included: Mapping[str, Mapping[str, Any]]) -> str | None:
    """The included file that gives a key; None: the settings file does, or none."""
    if _has(own, field):
        return None
    return next((name for name in reversed(list(included)) if _has(included[name], field)), None)


def _has(values: Any, field: tuple[str, ...]) -> bool:
    for part in field:
        if not isinstance(values, Mapping) or part not in values:
            return False
        values = values[part]
    return bool(field)
