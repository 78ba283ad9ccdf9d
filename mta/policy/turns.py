"""Turns of shares that compete for one thing: each gets as much as its weight says, and none starves.

Each share has a mark that moves on by 1/weight with each delivery of it that is served; the share with the least mark
is next. A share that had nothing to do does not save up turns: it starts where those are that are served now
(start-time fair queueing).
"""

from collections.abc import Iterable

from mta.model.shares import weight_of

_MANY = 64  # marks beyond which those are dropped that say nothing


class Turns:
    """The marks of shares; one that has fallen behind is as good as none."""

    __slots__ = ("_marks", "_now")

    def __init__(self) -> None:
        self._marks: dict[str, float] = {}
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
        marks[share] = max(self._now, marks.get(share, 0.0)) + many / weight_of(share)
        if len(marks) > _MANY:
            self._marks = {one: mark for one, mark in marks.items() if mark > self._now}

    def plan(self) -> "Turns":
        """A copy, for turns that may come to nothing."""
        planned = Turns()
        planned._marks, planned._now = dict(self._marks), self._now
        return planned
