"""The project's own modules, parsed, for the tests of its shape."""

import ast
import functools
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]


class Source(NamedTuple):
    """One module."""

    name: str  # dotted
    path: Path
    text: str
    tree: ast.Module


@functools.cache
def sources(*packages: str) -> tuple[Source, ...]:
    """Every module of `packages`."""
    return tuple(_read(path) for package in packages for path in sorted((ROOT / package).rglob("*.py")))


def imports_of(source: Source) -> set[str]:
    """The dotted names that a module imports, wherever in it; relative ones do not occur here."""
    found: set[str] = set()
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


def _read(path: Path) -> Source:
    text = path.read_text("utf-8")
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    return Source(name, path, text, ast.parse(text))
