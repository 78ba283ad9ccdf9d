"""Deliveries that workers have claimed and that wait for a connection, by queue: told with the metrics of a worker."""

from collections import Counter
from collections.abc import Iterable, Mapping
from heapq import nlargest
from operator import itemgetter
from typing import Final

from mta.model.mail import QueueKey

_PREFIX: Final = "waits:"  # of a worker's figures: waits:<pool>|<domain>
_MOST: Final = 100  # queues that a worker names: those with most


def told_waits(waits: Iterable[tuple[QueueKey, int]]) -> dict[str, int]:
    """As a worker tells them."""
    some = nlargest(_MOST, (wait for wait in waits if wait[1]), key=itemgetter(1))
    return {f"{_PREFIX}{queue.pool}|{queue.domain}": count for queue, count in some}


def read_waits(workers: Iterable[Mapping[str, float]]) -> Counter[QueueKey]:
    """By queue, of all workers together."""
    found = Counter[QueueKey]()
    for metrics in workers:
        for key, count in metrics.items():
            if key.startswith(_PREFIX):
                pool, _, domain = key[len(_PREFIX) :].partition("|")
                found[QueueKey(pool, domain)] += int(count)
    return found
