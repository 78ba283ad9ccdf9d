"""The fields of the move step, in the order in which sweep.lua reads them."""

from collections.abc import Sequence
from typing import Any, NamedTuple


class Batch(NamedTuple):
    """Deliveries that are moved together; the five lists before the last are in one order."""

    how: str  # a SweepMove
    source: str  # a pause, "" = the queues
    generation: int
    retention_ms: int
    queues: Sequence[tuple[str, str]]  # place, domain
    kinds: Sequence["Kind"]
    ids: Sequence[Any]
    queue_of: Sequence[int]  # places in `queues`, from 1
    kind_of: Sequence[int]
    raws: Sequence[Any]  # the records that were read: a delivery that has another one stays
    results: Sequence[Any]  # the final status of an intercepted delivery, else its new record
    shared: Sequence[Any]  # digest, what final statuses name by it, ...
    part: "Part"


class Part(NamedTuple):
    """How much of the batch may move: deliveries beyond the share of a staged release stay."""

    round: str = ""  # of the release, "" = all may move
    share: int = 0  # that the round may let go in this lane
    keep_ms: int = 0  # how long the lane remembers the round


class Kind(NamedTuple):
    """The counters that deliveries of a batch move together, and the time for which they can be undone."""

    rule: str
    tags: Sequence[str]
    uncertain: bool
    left_rule: str
    spare_ms: int
