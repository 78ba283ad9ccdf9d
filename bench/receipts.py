"""Receipts: which deliveries the sink received and when, counted as they come."""

import array
import time
from collections import Counter
from typing import Any

from bench.plan import HEADER
from bench.ranks import percentiles

_NUMBER = slice(0, 8)
_STAMP = slice(9, 25)
_GROWTH = 8192


class Account:
    """The receipts of each recipient and their times; the number of its recipient identifies a delivery."""

    def __init__(self) -> None:
        self.open = 0
        self.begin()

    def begin(self) -> None:
        """Count from nothing; connections stay as they are."""
        self.receipts = 0
        self.unnumbered = 0
        self.deferred = 0
        self.refused = 0
        self.stalled = 0
        self.connections = 0
        self.secured = 0
        self.most_open = self.open
        self.first = 0.0
        self.last = 0.0
        self.received_at = array.array("d")  # the last receipt of each message, by number; 0.0 = none
        self._cpu = time.process_time()
        self._numbers: set[bytes] = set()
        self._latencies = array.array("d")
        self._seconds: Counter[int] = Counter()

    def receipt(self, content: bytes, recipients: list[bytes], strangers: int) -> None:
        """A message came for the recipients with these numbers and for so many without one."""
        now = time.time()
        count = len(recipients) + strangers
        self.receipts += count
        self.last = now
        self._seconds[int(now)] += count
        if not self.first:
            self.first = now
        at = content.find(HEADER)
        fields = content[at + 9 : at + 34]
        try:
            number = int(fields[_NUMBER])
            handed_over = int(fields[_STAMP])
        except ValueError:
            at = -1
        if at < 0:
            self.unnumbered += count
            return
        self.unnumbered += strangers
        self._numbers.update(recipients)
        self._latencies.append(now - handed_over / 1e6)
        if number >= len(self.received_at):
            self.received_at.extend([0.0] * (number + _GROWTH - len(self.received_at)))
        self.received_at[number] = now

    def stats(self) -> dict[str, Any]:
        """The counters that a waiting parent looks at; cheap."""
        return {
            "event": "stats",
            "receipts": self.receipts,
            "unique": len(self._numbers),
            "duplicates": self.receipts - self.unnumbered - len(self._numbers),
            "unnumbered": self.unnumbered,
            "first": self.first,
            "last": self.last,
        }

    def whole(self) -> dict[str, Any]:
        start = int(self.first)
        return self.stats() | {
            "event": "end",
            "deferred": self.deferred,
            "refused": self.refused,
            "stalled": self.stalled,
            "connections": self.connections,
            "secured": self.secured,
            "most_open": self.most_open,
            "per_second": [self._seconds[second] for second in range(start, int(self.last) + 1)] if self.first else [],
            "handover_to_receipt_ms": percentiles(self._latencies, 1000.0),
            "cpu_seconds": time.process_time() - self._cpu,
        }
