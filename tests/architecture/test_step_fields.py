"""The two halves of each atomic step agree on the order of fields: the named tuples of Python, the locals of Lua."""

import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.sources import ROOT

STEPS = ROOT / "mta/redis_store/steps"
# `local a, b = unpack(x)` with the named tuple in a comment, at the end of its line or in the line before.
_UNPACKED = re.compile(
    r"(?:-- (\w+\.[A-Z]\w*)\n\s*)?local\s+([\w\s,]+?)\s*=\s*(unpack\([^\n]*\))(?: -- (\w+\.[A-Z]\w*))?\n"
)
_PLACES = re.compile(r"local\s+([A-Z_\s,]+?)\s*=\s*(\d[\d\s,]*?) -- (\w+\.[A-Z]\w*)\n")
_PACKED = "unpack(cmsgpack.unpack(argv[1]))"


class Use(NamedTuple):
    """A statement of a Lua file that reads fields of a tuple, by place (from 1)."""

    file: str
    tuple_: str  # "<step>.<named tuple>"
    names: dict[int, str]


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",")]


def _uses() -> Iterator[Use]:
    for path in sorted(STEPS.glob("*.lua")):
        text = path.read_text("utf-8")
        for before, names, _, behind in _UNPACKED.findall(text):
            if before or behind:
                found = {place: word for place, word in enumerate(_words(names), 1) if word != "_"}
                yield Use(path.name, before or behind, found)
        for names, places, tuple_ in _PLACES.findall(text):
            pairs = zip(map(int, _words(places)), map(str.lower, _words(names)), strict=True)
            yield Use(path.name, tuple_, dict(pairs))


def _fields(tuple_: str) -> tuple[str, ...]:
    step, _, name = tuple_.partition(".")
    found: tuple[str, ...] = getattr(importlib.import_module(f"mta.redis_store.steps.{step}"), name)._fields
    return found


USES = list(_uses())


@pytest.mark.parametrize("use", USES, ids=lambda use: f"{use.file}-{use.tuple_}-{len(use.names)}")
def test_lua_reads_each_field_where_python_puts_it(use: Use) -> None:
    fields = [field.rstrip("_") for field in _fields(use.tuple_)]
    assert {place: fields[place - 1] for place in use.names} == use.names


def test_every_tuple_is_read_by_its_lua_file() -> None:
    read = {use.tuple_ for use in USES}
    for path in STEPS.glob("*.py"):
        module = importlib.import_module(f"mta.redis_store.steps.{path.stem}") if path.stem != "__init__" else None
        for name, kind in inspect.getmembers(module, inspect.isclass):
            if kind.__module__ == getattr(module, "__name__", "") and hasattr(kind, "_fields") and name[0] != "_":
                assert f"{path.stem}.{name}" in read


@pytest.mark.parametrize("path", sorted(STEPS.glob("*.lua")), ids=lambda path: path.name)
def test_every_packed_argument_names_its_tuple(path: Path) -> None:
    text = path.read_text("utf-8")
    named = [before or behind for before, _, value, behind in _UNPACKED.findall(text) if value == _PACKED]
    assert len(named) == text.count(_PACKED)
    assert all(named)


@pytest.mark.parametrize("step", ["settle", "accept"])
def test_the_first_keys_are_those_that_the_lua_file_names(step: str) -> None:
    keys = importlib.import_module(f"mta.redis_store.steps.{step}").KEYS
    text = (STEPS / f"{step}.lua").read_text("utf-8")
    assert f"-- KEYS: {', '.join(key.decode() for key in keys)}, " in text
