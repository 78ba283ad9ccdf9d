"""Values by host or domain name, as settings give them."""

from collections.abc import Iterable
from typing import Generic, TypeVar

T = TypeVar("T")


class NamePatterns(Generic[T]):
    """Values by host or domain name: the exact name first, then the longest "*.parent"."""

    def __init__(self, items: Iterable[tuple[str, T]]) -> None:
        """Names in lower case."""
        self._items = dict(items)
        self._has_parents = any(name.startswith("*.") for name in self._items)

    def __bool__(self) -> bool:
        return bool(self._items)

    def find(self, name: str) -> T | None:
        found, parent = self._items.get(name), name
        while found is None and self._has_parents and "." in parent:
            parent = parent.partition(".")[2]
            found = self._items.get(f"*.{parent}")
        return found
