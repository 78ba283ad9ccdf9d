"""A node watched from outside, second by second: receipts and their latency, queue, backlog, memory."""

import time
import urllib.request
from collections.abc import Sequence
from typing import Any, NamedTuple

from bench.plan import CAMPAIGN
from bench.processes import Node, RunVoid, Sink
from bench.progress import Say
from bench.usage import by_role, server_memory

_TELL_EVERY = 5.0
_CALM = 2.0  # times the worst p99 of before: what is as good as before
_AT_LEAST = 20.0  # ms: what is less is no trouble, whatever it was before


class Second(NamedTuple):
    """One look; latencies are those of what was received since the last."""

    at: float  # seconds from the first look
    lasted: float
    phase: str  # "" = between two phases, or after the last
    receipts: int
    unique: int
    duplicates: int
    p50_ms: float
    p99_ms: float
    queued: int  # deliveries, by the statement of the tag
    backlog: int  # entries in the event streams
    worker_mib: float  # the largest of them, resident
    journal_mib: float
    server_mib: float  # used_memory


class Watch:
    """Looks at node and sink once a second while it is told to follow."""

    def __init__(self, node: Node, sink: Sink, say: Say) -> None:
        self._node, self._sink, self._say = node, sink, say
        self._start = self._last = self._told = time.monotonic()
        self._phase = ""
        self.received = 0
        self.seconds: list[Second] = []

    def enter(self, phase: str) -> None:
        """Later looks belong to `phase`; "" = to none, since two sources are at work."""
        self.look()
        self._phase = phase

    def follow(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(1.0, left))
            self.look()

    def until_calm(self, calm: str, within: float) -> None:
        """Goes on until no more is queued than in that phase, or for so long."""
        queued = max(second.queued for second in self.seconds if second.phase == calm)
        end = time.monotonic() + within
        while self.seconds[-1].queued > queued and time.monotonic() < end:
            self.follow(1.0)

    def until_received(self, count: int, within: float) -> None:
        """Raises RunVoid when that many have not arrived in time, or more have."""
        end = time.monotonic() + within
        self._phase = ""
        while self.received < count:
            if time.monotonic() > end:
                raise RunVoid(
                    f"of {count} accepted messages {self.received} have arrived {within:.0f} s after the last"
                )
            self.follow(1.0)
        if self.received > count:
            raise RunVoid(f"{self.received} different messages were received, {count} accepted")

    def look(self) -> None:
        got = self._sink.account()
        now = time.monotonic()
        self.received += got["unique"]
        memory = _resident(self._node)
        second = Second(
            at=round(now - self._start, 2),
            lasted=round(now - self._last, 3),
            phase=self._phase,
            receipts=got["receipts"],
            unique=got["unique"],
            duplicates=got["duplicates"],
            p50_ms=got["handover_to_receipt_ms"].get("p50", 0.0),
            p99_ms=got["handover_to_receipt_ms"].get("p99", 0.0),
            queued=int(self._node.get(f"/v1/tags/{CAMPAIGN}")["queued"]),
            backlog=_backlog(self._node),
            worker_mib=max((mib for role, mib in memory.items() if role.startswith("worker")), default=0.0),
            journal_mib=memory.get("journal", 0.0),
            server_mib=round(server_memory(self._node.redis)["used_memory"] / 2**20, 1),
        )
        self._last = now
        self.seconds.append(second)
        if now - self._told > _TELL_EVERY:
            self._told = now
            self._say(
                f"{second.phase or 'between'}: {second.receipts / second.lasted:,.0f}/s received, p99 "
                f"{second.p99_ms:,.0f} ms, {second.queued:,} queued, worker {second.worker_mib} MiB, "
                f"server {second.server_mib} MiB"
            )


def _resident(node: Node) -> dict[str, float]:
    return {role: round(process.memory_info().rss / 2**20, 1) for role, process in by_role(node.family()).items()}


def _backlog(node: Node) -> int:
    """Over all lanes, as the node's metrics have it. Raises RunVoid."""
    try:
        with urllib.request.urlopen(node.api + "/metrics", timeout=60) as answer:
            lines = answer.read().decode().splitlines()
    except OSError as error:
        raise RunVoid(f"GET /metrics: {error}") from None
    return int(sum(float(line.split()[-1]) for line in lines if line.startswith("floodgate_journal_backlog{")))


def peaks(seconds: Sequence[Second]) -> dict[str, Any]:
    """The most that was seen of what must stay bounded."""
    names = ("queued", "backlog", "worker_mib", "journal_mib", "server_mib")
    return {name: max(getattr(second, name) for second in seconds) for name in names}


def recovered_after(seconds: Sequence[Second], calm: str = "before", storm: str = "overload") -> float | None:
    """Seconds from the end of the storm until no later second's p99 was above twice the worst of the calm before; None:
    the last one still was."""
    good = max(_AT_LEAST, _CALM * max(second.p99_ms for second in seconds if second.phase == calm))
    end = max(second.at for second in seconds if second.phase == storm)
    after = [second for second in seconds if second.at > end and second.receipts]
    late = [second.at for second in after if second.p99_ms > good]
    if late and late[-1] == after[-1].at:
        return None
    return round(max(late, default=end) - end, 1)
