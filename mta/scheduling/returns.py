"""Why deliveries went back to their queues lately: each worker tells it with its metrics, where the API reads it."""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from mta.model.ids import delivery_text
from mta.model.mail import Claimed, QueueKey
from mta.model.outcomes import ReturnReason
from mta.timing.clock import wall_ms

_PREFIX: Final = "returned:"  # of a worker's figures: returned:<reason>:<pool>|<domain>
_SPAN_MS: Final = 30_000
_MOST: Final = 100  # pairs of queue and reason in a span
_REASONS: Final = {reason.value: reason for reason in ReturnReason}

_log = logging.getLogger(__name__)


class Returns:
    """The returns of this process, each told for 30 to 60 s."""

    def __init__(self, clock: Callable[[], int] = wall_ms) -> None:
        """`clock` gives Unix milliseconds."""
        self._clock = clock
        self._before = Counter[tuple[QueueKey, ReturnReason]]()
        self._now = Counter[tuple[QueueKey, ReturnReason]]()
        self._began = clock()

    def add(self, claimed: Claimed, reason: ReturnReason) -> None:
        """The delivery stands in its queue again."""
        if _log.isEnabledFor(logging.DEBUG):
            delivery = delivery_text(claimed.id)
            _log.debug("delivery %s to %s is back in its queue: %s", delivery, claimed.queue.domain, reason.words)
        key = claimed.queue, reason
        if key in self._now or len(self._now) < _MOST:
            self._now[key] += 1

    def metrics(self) -> dict[str, int]:
        """How many deliveries, by reason and queue."""
        now = self._clock()
        if now - self._began >= _SPAN_MS:
            self._before = self._now if now - self._began < 2 * _SPAN_MS else Counter()
            self._now = Counter()
            self._began = now
        return {
            f"{_PREFIX}{reason.value}:{queue.pool}|{queue.domain}": count
            for (queue, reason), count in (self._before + self._now).items()
        }


def returned_lately(workers: Iterable[Mapping[str, float]]) -> dict[QueueKey, Counter[ReturnReason]]:
    """How many deliveries of each queue were returned in the last minute, of what the workers tell."""
    found: dict[QueueKey, Counter[ReturnReason]] = {}
    for metrics in workers:
        for key, count in metrics.items():
            if key.startswith(_PREFIX):
                reason, _, queue = key[len(_PREFIX) :].partition(":")
                pool, _, domain = queue.partition("|")
                known = _REASONS.get(reason)  # a process of another release may know more
                if known is not None:
                    found.setdefault(QueueKey(pool, domain), Counter())[known] += int(count)
    return found
