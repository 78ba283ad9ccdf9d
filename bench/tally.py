"""The tally: which message a source sends next and when, and what came of those it sent."""

import array
import asyncio
import resource
import time
from collections import Counter
from typing import Any

from bench.plan import Plan
from bench.ranks import percentiles


class Tally:
    """Counts of the messages so far, by their result."""

    def __init__(self, plan: Plan, sessions: int, rate: float = 0.0) -> None:
        """`rate`: messages a second at most, 0 = as fast as they are answered."""
        self.plan = plan
        self.accepted = 0
        self.failed = 0
        self.deferred = 0
        self.replies: Counter[str] = Counter()
        self.latencies = array.array("d")
        self.accepted_at = array.array("d")  # by number, from the plan's first; 0.0 = not yet
        self.first_mail = 0.0
        self.last_accepted = 0.0
        self.done = asyncio.Event()
        self._begun = 0
        self._last = plan.messages
        self._running = sessions
        self._rate = rate
        self._start = time.perf_counter()

    def next_number(self) -> int | None:
        if self._begun >= self._last:
            return None
        self._begun += 1
        self.accepted_at.append(0.0)
        return self.plan.first + self._begun - 1

    def wait_for(self, number: int) -> float:
        """Seconds until message `number` is due."""
        return self._start + (number - self.plan.first) / self._rate - time.perf_counter() if self._rate else 0.0

    def stop(self) -> None:
        """Begin nothing more."""
        self._last = self._begun

    def taken(self, number: int, sent_at: float) -> None:
        """Message `number` has its 250; `sent_at`: when its dot went out, of the performance counter."""
        self.latencies.append(time.perf_counter() - sent_at)
        self.accepted += 1
        self.accepted_at[number - self.plan.first] = self.last_accepted = time.time()

    def refused(self, reply: str) -> None:
        self.failed += 1
        self.replies[reply[:120]] += 1

    def session_ended(self) -> None:
        self._running -= 1
        if self._running == 0:
            self.done.set()

    def counters(self) -> dict[str, Any]:
        """How far it is; cheap."""
        return {"begun": self._begun, "accepted": self.accepted, "failed": self.failed, "deferred": self.deferred}

    def result(self) -> dict[str, Any]:
        """The counts of all messages; those that no session was left to send have failed."""
        if never := self._last - self._begun:
            self.failed += never
            self.replies["never sent: every session had too much trouble with its connections"] += never
            self._last = self._begun
        seconds = self.last_accepted - self.first_mail if self.accepted else 0.0
        return {
            "messages": self._begun,
            "accepted": self.accepted,
            "failed": self.failed,
            "deferred": self.deferred,
            "replies": dict(self.replies.most_common(10)),
            "first_mail": self.first_mail,
            "last_accepted": self.last_accepted,
            "seconds": seconds,
            "rate": self.accepted / seconds if seconds else 0.0,
            "dot_to_reply_ms": percentiles(self.latencies, 1000.0),
            "cpu_seconds": time.process_time(),
            "peak_rss_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        }
