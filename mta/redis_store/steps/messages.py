"""The fields of the cancel step, in the order in which messages.lua reads them."""

from collections.abc import Sequence
from typing import Any, NamedTuple


class Batch(NamedTuple):
    """Deliveries of one message that are to end, as canceled or expired."""

    asked_at: int  # Unix ms
    author: str  # of the cancellation
    retention_ms: int
    as_: str  # the class that they end in
    items: Sequence["Item"]


class Item(NamedTuple):
    """One delivery, where and as it was seen."""

    id: Any
    kind: str
    place: str
    domain: str
    source: str
    record: Any
    tags: Sequence[str]
    event: Any
    final: Any
    stage: str
    uncertain: bool
    left_rule: str
