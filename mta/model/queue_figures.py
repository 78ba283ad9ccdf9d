"""The rate and the last failure of each queue, as workers tell them with their metrics and the API reads them."""

from collections.abc import Iterable, Mapping
from heapq import nlargest
from operator import itemgetter
from typing import Final, NamedTuple

from mta.model.mail import QueueKey
from mta.model.outcomes import Reply

MOST_RATES: Final = 100  # queues whose rate a worker tells: the fastest
MOST_FAILURES: Final = 50  # queues whose last failure a worker tells: the newest
_RATE: Final = "rate:"  # rate:<pool>|<domain> -> deliveries a minute
_FAILURE: Final = "failure:"  # failure:<pool>|<domain>|<mx>|<code>|<enhanced>|<text> -> when, Unix s
_LONGEST: Final = 200  # characters of a text


class Failure(NamedTuple):
    """The end of an attempt that did not deliver: the remote's reply, or our own words about what failed."""

    at: float  # Unix s
    mx: str  # the host, "" = none was reached
    reply: Reply


class ToldRates(NamedTuple):
    """The rates that the workers report. With `all_told`, a queue that no worker names delivers nothing."""

    rates: Mapping[QueueKey, float]  # deliveries a minute
    all_told: bool

    def of(self, queue: QueueKey) -> float | None:
        """None: not known."""
        return self.rates.get(queue, 0.0 if self.all_told else None)


def told_rates(counts: Mapping[QueueKey, int], minutes: float) -> dict[str, float]:
    """As a worker tells them: `counts` are the deliveries of so many minutes."""
    some = nlargest(MOST_RATES, counts.items(), key=itemgetter(1))
    return {f"{_RATE}{queue.pool}|{queue.domain}": round(count / minutes, 2) for queue, count in some}


def read_rates(workers: Iterable[Mapping[str, float]]) -> ToldRates:
    """By queue, of all workers together."""
    found: dict[QueueKey, float] = {}
    all_told = True
    for metrics in workers:
        told = [(key[len(_RATE) :], rate) for key, rate in metrics.items() if key.startswith(_RATE)]
        all_told = all_told and len(told) < MOST_RATES
        for name, rate in told:
            queue = _queue(name)
            found[queue] = found.get(queue, 0.0) + rate
    return ToldRates(found, all_told)


def told_failures(failures: Mapping[QueueKey, Failure]) -> dict[str, float]:
    """As a worker tells them."""
    found = {}
    for (pool, domain), (at, mx, reply) in failures.items():
        text = reply.text[:_LONGEST]
        words = "|".join((pool, domain, _plain(mx), str(reply.code), _plain(reply.enhanced), text))
        found[_FAILURE + words] = at
    return found


def read_failures(workers: Iterable[Mapping[str, float]]) -> dict[QueueKey, Failure]:
    """The newest of each queue."""
    found: dict[QueueKey, Failure] = {}
    for metrics in workers:
        for key, at in metrics.items():
            parts = key[len(_FAILURE) :].split("|", 5) if key.startswith(_FAILURE) else []
            if len(parts) == 6 and parts[3].isdigit():
                queue = QueueKey(parts[0], parts[1])
                if queue not in found or found[queue].at < at:
                    found[queue] = Failure(at, parts[2], Reply(int(parts[3]), parts[4], parts[5]))
    return found


def _plain(word: str) -> str:
    return word.replace("|", "?")


def _queue(name: str) -> QueueKey:
    pool, _, domain = name.partition("|")
    return QueueKey(pool, domain)
