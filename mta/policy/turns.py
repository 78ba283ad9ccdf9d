"""Turns of shares that compete for one thing: each gets as much as its weight says, and none starves.

Each share has a mark that moves on by 1/weight with each delivery of it that is served; the share with the least mark
is next. A share that had nothing to do does not save up turns: it starts where those are that are served now
(start-time fair queueing).
"""

import heapq
from collections.abc import Callable, Iterable

from mta.model.shares import weight_of

Weigh = Callable[[str], float]  # how many deliveries of a share leave for one of a bulk share, while both wait

_MANY = 64  # marks from which on those are dropped that say nothing


class Turns:
    """The marks of shares; one that has fallen behind is as good as none."""

    __slots__ = ("_marks", "_most", "_now", "_weigh")

    def __init__(self, weigh: Weigh = weight_of) -> None:
        self._weigh = weigh
        self._marks: dict[str, float] = {}
        self._most = _MANY
        self._now = 0.0  # the least mark among those that competed last

    def __repr__(self) -> str:
        return f"<Turns now={self._now} {self._marks}>"

    def first(self, shares: Iterable[str]) -> str:
        """Of the shares that compete now (one at least) the one whose turn it is."""
        now, marks = self._now, self._marks
        share = min(shares, key=lambda one: max(now, marks.get(one, 0.0)))
        self._now = max(now, marks.get(share, 0.0))
        return share

    def served(self, share: str, many: int) -> None:
        """So many deliveries of the share had their turn."""
        marks = self._marks
        marks[share] = max(self._now, marks.get(share, 0.0)) + many / self._weigh(share)
        if len(marks) > self._most:
            self._marks = {one: mark for one, mark in marks.items() if mark > self._now}
            self._most = max(_MANY, 2 * len(self._marks))

    def plan(self, shares: Iterable[str]) -> "PlannedTurns":
        """The next turns of these shares (one at least), which may come to nothing."""
        now, marks = self._now, self._marks
        return PlannedTurns([(max(now, marks.get(share, 0.0)), share) for share in shares], self._weigh)


class PlannedTurns:
    """Turns that are not counted; a heap, since there may be many shares and each turn is one delivery."""

    __slots__ = ("_heap", "_weigh")

    def __init__(self, marks: list[tuple[float, str]], weigh: Weigh) -> None:
        self._weigh = weigh
        self._heap = marks
        heapq.heapify(marks)

    def __bool__(self) -> bool:
        """Whether a share is left."""
        return bool(self._heap)

    def first(self) -> str:
        return self._heap[0][1]

    def served(self) -> None:
        """The first share had a turn of one delivery."""
        mark, share = self._heap[0]
        heapq.heapreplace(self._heap, (mark + 1 / self._weigh(share), share))

    def drop(self) -> None:
        """The first share has nothing more to do."""
        heapq.heappop(self._heap)
