"""The fields of the steps about parked mail, in the order in which parked.lua reads them."""

from collections.abc import Sequence
from typing import Any, NamedTuple


class Release(NamedTuple):
    """Parked deliveries that are due again."""

    now: int  # Unix ms
    items: Sequence["ReleaseItem"]


class ReleaseItem(NamedTuple):
    """One delivery as it was seen, and its new record."""

    id: Any
    place: str
    domain: str
    raw: Any
    record: Any
    tags: Sequence[str]
    uncertain: bool


class Drop(NamedTuple):
    """Parked deliveries without a record that can be read."""

    retention_ms: int
    items: Sequence["DropItem"]


class DropItem(NamedTuple):
    """One of them as it was seen, and its final status."""

    id: Any
    place: str
    domain: str
    raw: Any  # "" = there is no record
    final: Any
