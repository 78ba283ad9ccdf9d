"""Settings as TOML text with units and prose: `config/floodgate.toml` and `floodgate config show` are made here."""

import inspect
import json
import textwrap
from typing import Any

from msgspec import Struct

from mta.model.destination_settings import DomainSettings, RelaySettings, SiteSettings
from mta.model.reactions import EXAMPLE as REACTION
from mta.model.replies import EXAMPLE, EXAMPLE_NAME
from mta.model.secret_urls import hide_password
from mta.model.settings import NodeSettings, PoolSettings, Settings, Unit
from mta.model.units import format_duration, format_rate, format_size
from mta.settings_file.convert import key_text
from mta.settings_file.fields import Field, fields_of

_HEAD = """\
# Floodgate's settings: every key with its default. Durations: "500ms", "5s", "10m", "24h", "5d" or seconds;
# sizes: "64KiB", "25MiB" or bytes; rates: "100/s", "600/m"; addresses: "host:port", "[ipv6]:port". A list accepts a
# single value. `--set KEY=VALUE` overrides a key; `floodgate config check` tells what is wrong.
# `include = ["shaping.toml"]`, above all tables, takes the keys of other files, over which those of this file win;
# shaping.toml (limits of the large providers) comes with Floodgate.
"""
_EXAMPLES: dict[str, tuple[str, Struct]] = {
    "relays": ("NAME", RelaySettings(host="relay.example.com")),
    "pools": ("default", PoolSettings()),
    "sites": ("example", SiteSettings()),
    "domains": ("example.com", DomainSettings()),
    "replies": (EXAMPLE_NAME, EXAMPLE),
}

_LISTED: dict[str, Struct] = {"reactions": REACTION}  # lists of tables


def defaults_text() -> str:
    """Every key with its default and its prose above; tables that exist by name only are shown commented out."""
    written = as_written(Settings(node=NodeSettings()), secrets=True)
    parts = [_HEAD]
    for name, field in fields_of(Settings).items():
        if name in _LISTED:
            struct = _LISTED[name]
            section = _section((name,), type(struct), _written(field, struct), sign="#")
            parts.append(section.replace(f"#[{name}]", f"#[[{name}]]"))
        elif name in _EXAMPLES:
            example, struct = _EXAMPLES[name]
            values = _written(field, struct)
            parts.append(_section((name, example), type(struct), values, sign="#"))
        else:
            parts.append(_section((name,), field.type, written[name], sign=""))
    return "\n".join(parts)


def settings_text(settings: Settings) -> str:
    """The settings in force, without prose; passwords in URLs are hidden."""
    lines: list[str] = []
    for name, value in as_written(settings).items():
        if name in _LISTED:
            for table in value:
                lines += [f"[[{name}]]", *(f"{key} = {_toml(item)}" for key, item in table.items()), ""]
            continue
        tables = {(name, key): item for key, item in value.items()} if name in _EXAMPLES else {(name,): value}
        for path, table in tables.items():
            lines += [f"[{key_text(path)}]", *(f"{key} = {_toml(item)}" for key, item in table.items()), ""]
    return "\n".join(lines)


def as_written(settings: Settings, *, secrets: bool = False) -> dict[str, Any]:
    """The settings as people write them: strings with units, plain lists and tables."""
    written: dict[str, Any] = {
        name: _written(field, getattr(settings, name)) for name, field in fields_of(Settings).items()
    }
    if not secrets:
        written["redis"]["url"] = hide_password(settings.redis.url)
        written["history"]["url"] = hide_password(settings.history.url)
    return written


def _section(path: tuple[str, ...], struct: type[Struct], values: dict[str, Any], sign: str) -> str:
    lines = [f"# {line}" for line in textwrap.wrap(inspect.cleandoc(struct.__doc__ or ""), 116)]
    lines.append(f"{sign}[{key_text(path)}]")
    for name, field in fields_of(struct).items():
        lines += [f"# {line}" for line in textwrap.wrap(field.prose, 116)]
        lines.append(f"{sign}{name} = {_toml(values[name])}")
    return "\n".join(lines) + "\n"


def _written(field: Field, value: Any) -> Any:
    if isinstance(value, Struct):
        return {name: _written(item, getattr(value, item.attribute)) for name, item in fields_of(type(value)).items()}
    if isinstance(value, dict):
        return {key: _written(field, item) for key, item in value.items()}
    if isinstance(value, tuple) and not hasattr(value, "_fields"):
        return [_written(field, item) for item in value]
    if isinstance(value, tuple):
        return str(value)
    if field.unit is Unit.DURATION:
        return format_duration(value)
    if field.unit is Unit.SIZE:
        return format_size(value)
    if field.unit is Unit.RATE:
        return format_rate(value)
    return value


def _toml(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(_toml(item) for item in value)}]"
    if isinstance(value, dict):
        pairs = ", ".join(f"{key_text((key,))} = {_toml(item)}" for key, item in value.items())
        return f"{{ {pairs} }}" if pairs else "{}"
    if isinstance(value, float) and value == int(value):
        return str(int(value))
    return json.dumps(value, ensure_ascii=False)
