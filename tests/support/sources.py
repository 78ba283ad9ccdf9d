"""The project's own modules for the tests of its shape, read and parsed when a test asks for their text."""

import ast
import dataclasses
import functools
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclasses.dataclass(frozen=True)
class Source:
    """One module."""

    name: str  # dotted
    path: Path

    @functools.cached_property
    def text(self) -> str:
        return self.path.read_text("utf-8")

    @functools.cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)


@functools.cache
def sources(*packages: str) -> tuple[Source, ...]:
    """Every module of `packages`."""
    return tuple(_source(path) for package in packages for path in sorted((ROOT / package).rglob("*.py")))


@functools.cache
def imports_of(source: Source) -> frozenset[str]:
    """The dotted names that a module imports, wherever in it; relative ones do not occur here."""
    found: set[str] = set()
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return frozenset(found)


@functools.cache
def _source(path: Path) -> Source:
    return Source(".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"), path)
