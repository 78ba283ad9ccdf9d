"""One way to settings: the file, then `--set`, then what only this host can tell, then the checks."""

import os
import re
import socket
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path as FilePath
from typing import Any

from msgspec.structs import replace

from mta.model.errors import BadValue, SettingsError
from mta.model.secret_urls import hide_password
from mta.model.settings import PoolSettings, Settings
from mta.settings_file.checks import checked
from mta.settings_file.convert import Path, key_text, to_struct
from mta.settings_file.includes import read_toml, source_of, with_included

_PART = r"""(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')"""
_ASSIGNMENT = re.compile(rf"\s*({_PART}(?:\s*\.\s*{_PART})*)\s*=(.*)", re.ASCII | re.DOTALL)
_KEY_PART = re.compile(_PART, re.ASCII)


def load_settings(path: str | FilePath | None, sets: Sequence[str], environ: Mapping[str, str]) -> Settings:
    """Settings from a TOML file (None: defaults) and `--set` words. Raises SettingsError with every fault that there
    is: source, key, reason, fix."""
    values = read_toml(FilePath(path)) if path is not None else {}
    source = str(path) if path is not None else "settings"
    by_set: set[Path] = set()
    lines: list[str] = []
    for word in sets:
        try:
            key = _apply(values, word)
            if key in by_set:
                raise SettingsError(f"--set: {key_text(key)} is given more than once and takes one value; give it once")
            by_set.add(key)
        except SettingsError as error:
            lines += error.faults
    faults: list[BadValue] = []
    own, base = dict(values), FilePath(path).parent if path is not None else FilePath()
    values, included = with_included(values, base, source)
    given = _complete(to_struct(Settings, values, faults), environ)
    settings, disagreements = checked(given)
    faults += [fault for fault in disagreements if not any(_is_about(fault, known) for known in faults)]
    for fault in faults:
        overridden = any(_covers(key_text(key), fault.field) for key in by_set)
        parts = tuple(part.strip('"') for part in _KEY_PART.findall(fault.field))
        file = source_of(parts, own, included) or source
        lines.append(f"{'--set' if overridden else file}: {fault}")
    if lines:
        raise SettingsError(*lines)
    return settings


def _is_about(fault: BadValue, known: BadValue) -> bool:
    """Whether a check met only the default that stands for a value which could not be taken."""
    return _covers(fault.field, known.field) or known.field in fault.reason


def _apply(values: dict[str, Any], word: str) -> Path:
    """Set one `key=value` in `values`; the key's parts."""
    found = _ASSIGNMENT.fullmatch(word)
    if found is None:
        shown = hide_password(word)
        raise SettingsError(f"--set: {shown!r} is not KEY=VALUE; write one such as smtp.max_recipients=100")
    path = tuple(part.strip("\"'") for part in _KEY_PART.findall(found[1]))
    table = values
    for depth, part in enumerate(path[:-1], 1):
        table = table.setdefault(part, {})
        if not isinstance(table, dict):
            raise SettingsError(f"--set: {key_text(path)}: {key_text(path[:depth])} is not a table")
    table[path[-1]] = _toml_or_text(found[2].strip())
    return path


def _toml_or_text(text: str) -> Any:
    try:
        parsed = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    return parsed["value"] if len(parsed) == 1 else text


def _covers(key: str, field: str) -> bool:
    return field == key or field.startswith(f"{key}.") or key.startswith(f"{field}.")


def _complete(settings: Settings, environ: Mapping[str, str]) -> Settings:
    """The defaults that depend on the host, filled in."""
    node = settings.node
    data_dir = os.path.abspath(os.path.expanduser(node.data_dir)) if node.data_dir else default_data_dir(environ)
    node = replace(
        node,
        name=node.name or _own_name(),
        data_dir=data_dir,
        workers=node.workers or len(os.sched_getaffinity(0)),
    )
    log_path = settings.journal.log_path
    journal = replace(
        settings.journal,
        log_path=os.path.abspath(os.path.expanduser(log_path)) if log_path else f"{data_dir}/log/delivery.jsonl",
    )
    smtp = replace(settings.smtp, hostname=settings.smtp.hostname or _own_host_name())
    pools = settings.pools or {smtp.default_pool: PoolSettings()}
    return replace(settings, node=node, journal=journal, smtp=smtp, pools=pools)


def default_data_dir(environ: Mapping[str, str]) -> str:
    """Where state is kept unless a setting says otherwise (systemd, root, everybody else)."""
    given = environ.get("STATE_DIRECTORY", "").split(":")[0]  # systemd.exec(5): several are separated by colons
    if given:
        return given
    if os.geteuid() == 0:
        return "/var/lib/floodgate"
    return os.path.join(environ.get("HOME") or os.path.expanduser("~"), ".local/state/floodgate")


def _own_name() -> str:
    """The host's short name, brought to the grammar of names."""
    return re.sub(r"[^A-Za-z0-9_-]", "-", socket.gethostname().partition(".")[0]).lstrip("_-")[:63] or "node"


def _own_host_name() -> str:
    """The host's name, as far as it is fit for a greeting; no name server is asked, since that can block."""
    name = socket.gethostname()
    return re.sub(r"[^A-Za-z0-9.-]", "-", name).strip("-.")[:253] or "localhost"
