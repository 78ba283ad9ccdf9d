"""How long orders take to be effective: a histogram that lives as long as its process."""

from bisect import bisect_left
from itertools import accumulate
from typing import Final

from mta.ports.orders import OrderFigures

BOUNDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)  # seconds


class Latency:
    """Counts orders by how long they took and by what made them effective."""

    def __init__(self) -> None:
        self._counts = [0] * (len(BOUNDS) + 1)  # the last: longer than all bounds
        self._by_time = 0
        self._seconds = 0.0

    def observe(self, seconds: float, by_time: bool) -> None:
        self._counts[bisect_left(BOUNDS, seconds)] += 1
        self._seconds += seconds
        self._by_time += by_time

    def figures(self, pending: int) -> OrderFigures:
        within = tuple(zip(BOUNDS, accumulate(self._counts), strict=False))
        return OrderFigures(pending, sum(self._counts) - self._by_time, self._by_time, self._seconds, within)
