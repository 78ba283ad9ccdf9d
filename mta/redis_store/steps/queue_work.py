"""The fields of the change_pool step, in the order in which queue_work.lua reads them."""

from collections.abc import Sequence
from typing import Any, NamedTuple


class Batch(NamedTuple):
    """Deliveries of one share of a queue that go to another pool together; the last three lists are in one order."""

    generation: int
    pause: str  # that holds them, "" = they are queued
    place: str
    domain: str
    to_pool: str
    to_place: str
    ids: Sequence[Any]
    raws: Sequence[Any]  # the records that were read: a delivery that has another one stays
    changed: Sequence[Any]  # their new records
