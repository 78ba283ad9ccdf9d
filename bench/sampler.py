"""Samples of a node at work: about once a second, what is queued and what its journal has not written yet."""

import threading
import time
import urllib.request
from types import TracebackType

from bench.processes import Node

_EVERY = 1.0  # seconds
_LOOKING = 0.005  # of the time at most: with 10,000 rules an answer costs ten times as much as without
_QUEUED = 'floodgate_books_deliveries{class="queued"}'
_BACKLOG = "floodgate_journal_backlog{"


class Sampler:
    """Looks at `/metrics` while it is a context; an instant at which nothing answers has no sample."""

    def __init__(self, node: Node) -> None:
        self._url = f"{node.api}/metrics"
        self._samples: list[tuple[float, float, float]] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Sampler":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def since(self, start: float) -> dict[str, list[float]]:
        """The samples in columns; `at` is seconds since `start`, a Unix time."""
        samples = [sample for sample in self._samples if sample[0] >= start]
        return {
            "at": [round(at - start, 2) for at, _, _ in samples],
            "queued": [queued for _, queued, _ in samples],
            "journal_backlog": [backlog for _, _, backlog in samples],
        }

    def _run(self) -> None:
        due = time.monotonic()
        while not self._over.wait(max(0.0, due - time.monotonic())):
            begun = time.monotonic()
            try:
                with urllib.request.urlopen(self._url, timeout=10) as answer:
                    self._samples.append((time.time(), *read(answer.read().decode())))
            except OSError:
                pass
            due = max(due + _EVERY, begun + (time.monotonic() - begun) / _LOOKING)


def read(metrics: str) -> tuple[float, float]:
    """Queued deliveries, and entries that the journal has not made durable, over all lanes."""
    queued = backlog = 0.0
    for line in metrics.splitlines():
        name, _, value = line.rpartition(" ")
        if name == _QUEUED:
            queued = float(value)
        elif name.startswith(_BACKLOG):
            backlog += float(value)
    return queued, backlog
