"""How attempts ended, by pool and by the class of the remote's reply, for the metrics of a worker."""

from typing import Final

from mta.model import process_metrics as told
from mta.model.mail import QueueKey
from mta.model.outcomes import Class, Origin, Outcome
from mta.scheduling.queue_figures import QueueFigures

OTHERS: Final = "(others)"  # the name of no pool
MOST_POOLS: Final = 20  # that a process names: clients may name any IP address as a pool
_CLASSES: Final = {2: "2xx", 4: "4xx", 5: "5xx"}
_REMOTE: Final = Origin.REMOTE  # to look a member up at its class takes ten times as long
_DELIVERED: Final = Class.DELIVERED.value


class ReplyCounts:
    """Since the start of the process. The first pools that it meets have figures of their own, all others share one."""

    def __init__(self, queues: QueueFigures) -> None:
        """`queues` gets the deliveries of each queue when the figures are told."""
        self._queues = queues
        self._fresh: dict[tuple[QueueKey, str, int], int] = {}  # since the figures were told last
        self._counts: dict[tuple[str, str, int], int] = {}
        self._known: dict[tuple[str, str, str], int] = {}
        self._pools: set[str] = set()

    def add(self, queue: QueueKey, how: str, outcome: Outcome) -> None:
        """`how` the delivery stands now: the class it ended in, deferred or held."""
        key = queue, how, outcome.reply.code // 100 if outcome.origin is _REMOTE else 0
        self._fresh[key] = self._fresh.get(key, 0) + 1
        if how != _DELIVERED and not outcome.simulated:
            self._queues.failed(queue, outcome)
            known = outcome.known
            if known is not None and known.category:
                named = known.category, known.fault, known.provider
                self._known[named] = self._known.get(named, 0) + 1

    def _fold(self) -> None:
        for (queue, how, reply), count in self._fresh.items():
            pool = queue.pool
            if pool not in self._pools:
                if len(self._pools) < MOST_POOLS:
                    self._pools.add(pool)
                else:
                    pool = OTHERS
            key = pool, how, reply
            self._counts[key] = self._counts.get(key, 0) + count
            if how == _DELIVERED:
                self._queues.delivered(queue, count)
        self._fresh.clear()

    def metrics(self) -> dict[str, int]:
        """By the labels of `REPLIES`; the class is "none" where the remote gave no reply that decided."""
        self._fold()
        known = {told.KNOWN_REPLIES.of(*named): count for named, count in self._known.items()}
        return known | {
            told.REPLIES.of(how, _CLASSES.get(reply, "none"), pool): count
            for (pool, how, reply), count in self._counts.items()
        }
