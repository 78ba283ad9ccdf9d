"""The fields of the reinstate step, in the order in which undo.lua reads them."""

from collections.abc import Sequence
from typing import Any, NamedTuple


class Batch(NamedTuple):
    """Intercepted deliveries of one rule that go back to their queues."""

    rule: str
    hours: int  # how far back their final statuses may stand
    queues: Sequence[tuple[str, str]]  # place, domain
    items: Sequence["Item"]


class Item(NamedTuple):
    """One delivery."""

    id: Any
    queue: int  # place in `queues`, from 1
    stage: str
    uncertain: bool
    tags: Sequence[str]
    record: Any
    event: Any
    due: int
