"""The rate and the last failure of each queue of this process, for its metrics."""

from collections.abc import Callable
from typing import Final

from mta.model.mail import QueueKey
from mta.model.outcomes import Origin, Outcome
from mta.model.queue_figures import MOST_FAILURES, Failure, told_failures, told_rates
from mta.timing.clock import wall_ms

_SPAN_MS: Final = 30_000
_MOST_QUEUES: Final = 5000  # of a span
_SHORTEST_MS: Final = 5000  # a process that has just begun does not know a rate
_FORGOTTEN_MS: Final = 600_000  # a failure is told for so long


class QueueFigures:
    """A rate is told for the last 30 to 60 s; failures, of the queues that failed last, for ten minutes."""

    def __init__(self, clock: Callable[[], int] = wall_ms) -> None:
        """`clock` gives Unix milliseconds."""
        self._clock = clock
        self._now: dict[QueueKey, int] = {}  # deliveries of this span
        self._both: dict[QueueKey, int] = {}  # of the span before, too
        self._first = self._began = clock()  # of the span before, of this one
        self._failures: dict[QueueKey, Failure] = {}  # the oldest first

    def delivered(self, queue: QueueKey, count: int) -> None:
        now, both = self._now, self._both
        known = now.get(queue, 0)
        if known or len(now) < _MOST_QUEUES:
            now[queue] = known + count
            both[queue] = both.get(queue, 0) + count

    def failed(self, queue: QueueKey, outcome: Outcome) -> None:
        """An attempt ended otherwise. A forced error says nothing about the destination."""
        if outcome.origin is Origin.FORCED or outcome.returned is not None or not outcome.reply.code:
            return
        self._failures.pop(queue, None)
        self._failures[queue] = Failure(self._clock() / 1000, outcome.mx, outcome.reply)
        if len(self._failures) > MOST_FAILURES:
            del self._failures[next(iter(self._failures))]

    def metrics(self) -> dict[str, float]:
        now = self._clock()
        if now - self._began >= _SPAN_MS:
            late = now - self._began >= 2 * _SPAN_MS
            self._both, self._first = ({}, now) if late else (dict(self._now), self._began)
            self._now, self._began = {}, now
        minutes = max(now - self._first, _SHORTEST_MS) / 60_000
        fresh = {queue: failure for queue, failure in self._failures.items() if now - failure.at * 1000 < _FORGOTTEN_MS}
        self._failures = fresh
        return {**told_rates(self._both, minutes), **told_failures(fresh)}
