"""The counts of TLS results of a worker, which it adds to those of all nodes every few seconds."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from typing import Final

from mta.model.errors import StoreError
from mta.policy.tls_results import TlsResult
from mta.ports.tls_results import TlsResults
from mta.timing.clock import wall_ms

_EVERY: Final = 2.0  # seconds between two times of writing
_MOST_KINDS: Final = 50_000
_DAY_MS: Final = 86_400_000

_log = logging.getLogger(__name__)


class TlsCounts:
    """Counts in memory. Those that cannot be written are kept for the next time."""

    def __init__(
        self, results: TlsResults | None, loop: asyncio.AbstractEventLoop, clock: Callable[[], int] = wall_ms
    ) -> None:
        """`results` None: nothing is kept. `clock` gives Unix ms."""
        self._results = results
        self._loop = loop
        self._clock = clock
        self._counts: Counter[TlsResult] = Counter()
        self._next = 0.0  # loop time
        self._writing: asyncio.Task[None] | None = None

    def add(self, result: TlsResult) -> None:
        """Beyond 50,000 kinds a result counts for the domain `*`."""
        is_known = result in self._counts or len(self._counts) < _MOST_KINDS
        self._counts[result if is_known else result._replace(domain="*", mx="")] += 1

    def tick(self, now: float) -> None:
        if self._counts and now >= self._next and self._writing is None and self._results is not None:
            self._next = now + _EVERY
            self._writing = self._loop.create_task(self._write(self._results))

    async def close(self, within: float) -> None:
        """Write what is left, for up to `within` seconds."""
        if self._writing is not None:
            await asyncio.wait([self._writing], timeout=within)
        if self._counts and self._results is not None:
            await asyncio.wait([self._loop.create_task(self._write(self._results))], timeout=within)

    async def _write(self, results: TlsResults) -> None:
        counts, self._counts = self._counts, Counter()
        try:
            await results.add(self._clock() // _DAY_MS, counts)
        except StoreError as error:
            _log.debug("the TLS results are written later: %s", error)
            self._counts.update(counts)
        finally:
            self._writing = None
