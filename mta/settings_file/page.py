"""The reference of all settings as a page of Markdown: `docs/settings.md` is made here."""

import inspect
import json
import types
import typing
from typing import Any, Final

from msgspec import Struct

from mta.model.destination_settings import DomainSettings, RelaySettings, SiteSettings
from mta.model.reactions import ReactionSettings
from mta.model.replies import EXAMPLE
from mta.model.settings import NodeSettings, PoolSettings, Settings, Unit
from mta.model.units import format_duration, format_rate, format_size
from mta.settings_file.fields import Field, fields_of
from mta.settings_file.text import as_written

_HEAD: Final = """\
# Settings

This page is made from the structs that read a settings file (`make docs`). `config/floodgate.toml` has the same keys
with their defaults. `floodgate node --config FILE` reads a file, and `--set SECTION.KEY=VALUE` overrides one key.

- A duration is a string with a unit (`"500ms"`, `"5s"`, `"10m"`, `"24h"`, `"5d"`) or a number of seconds.
- A size is a string (`"64KiB"`, `"25MiB"`) or a number of bytes. A rate is `"100/s"` or `"600/m"`.
- An address is `"host:port"` or `"[ipv6]:port"`. Port 0 means any free port.
- A list also takes a single value.

`include = ["shaping.toml"]` at the top of a file takes the keys of other files, named from its folder. Its own keys
win.
`shaping.toml`, the limits of the large providers with their sources, comes with Floodgate (`config/shaping.toml`).

An unknown key, a wrong type or an impossible value stops the start. `floodgate config check --config FILE` reports
every fault at once. `floodgate config show` prints the settings in force without passwords.
"""
_NAMED: Final[dict[str, Struct]] = {
    "relays": RelaySettings(),
    "pools": PoolSettings(),
    "sites": SiteSettings(),
    "domains": DomainSettings(),
    "replies": EXAMPLE,
}
_LISTED: Final[dict[str, Struct]] = {"reactions": ReactionSettings()}  # lists of tables
_UNITS: Final = {Unit.DURATION: format_duration, Unit.SIZE: format_size, Unit.RATE: format_rate}
_KINDS: Final = {str: "text", int: "number", float: "number", bool: "true or false"}


def settings_page() -> str:
    """Every section with its keys: type, default, bounds and prose."""
    defaults = as_written(Settings(node=NodeSettings()), secrets=True)
    parts = [_HEAD]
    for name, field in fields_of(Settings).items():
        if name in _LISTED:
            struct, title = type(_LISTED[name]), f"[{name}]"
            values = {key: _plain(_shown(item, _LISTED[name])) for key, item in fields_of(struct).items()}
        elif name in _NAMED:
            struct, title = type(_NAMED[name]), f"{name}.NAME"
            values = {key: _plain(getattr(_NAMED[name], key)) for key in fields_of(struct)}
        else:
            struct, title, values = field.type, name, defaults[name]
        rows = [_row(key, item, values[key]) for key, item in fields_of(struct).items()]
        about = inspect.cleandoc(struct.__doc__ or "")
        parts.append(
            "\n".join(
                [f"## `[{title}]`", "", about, "", "| key | type | default | meaning |", "|---|---|---|---|", *rows]
            )
            + "\n"
        )
    return "\n".join(parts)


def _row(key: str, field: Field, default: Any) -> str:
    prose = field.prose.replace("|", "\\|")
    return f"| `{key}` | {_type_of(field)} | `{json.dumps(default, ensure_ascii=False)}` | {prose}{_bounds(field)} |"


def _type_of(field: Field) -> str:
    origin = typing.get_origin(field.type)
    if origin is typing.Literal:
        return "one of " + ", ".join(f"`{choice}`" for choice in typing.get_args(field.type))
    if isinstance(field.type, type) and issubclass(field.type, Struct):
        return "table"
    if origin is tuple or isinstance(field.type, types.GenericAlias):
        return "list" if origin is tuple else "table"
    if field.unit is not None:
        return field.unit.value
    return _KINDS.get(field.type, "address")


def _bounds(field: Field) -> str:
    write: Any = _UNITS.get(field.unit, str) if field.unit is not None else str
    parts = []
    if field.least:
        parts.append(f"at least {write(field.least)}")
    if field.most is not None:
        parts.append(f"at most {write(field.most)}")
    return f" ({', '.join(parts)})" if parts else ""


def _shown(field: Field, struct: Struct) -> Any:
    value = getattr(struct, field.attribute)
    return format_duration(value) if field.unit is Unit.DURATION else value


def _plain(value: Any) -> Any:
    if isinstance(value, Struct):
        return {}
    return list(value) if isinstance(value, tuple) else value


if __name__ == "__main__":
    print(settings_page(), end="")
