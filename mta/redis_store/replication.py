"""A failover as the servers tell it: how much of the old master's history the new one has.

A replica that becomes master keeps the id of the history that it followed (`master_replid2`), and says up to which
offset it had it (`second_repl_offset`). Source: Redis documentation, management/replication, "Replication ID
explained".
"""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple, Self

_NONE = "0" * 40  # a server that follows no earlier history


class History(NamedTuple):
    """The replication state of one master: ids of histories, and offsets in bytes."""

    replid: str
    offset: int
    earlier: str
    earlier_end: int  # its first offset that this server does not share

    @classmethod
    def of(cls, info: Mapping[str, str]) -> Self | None:
        """From `INFO replication`; None for a replica."""
        if info.get("role") != "master" or "master_replid" not in info:
            return None
        return cls(
            info["master_replid"],
            int(info.get("master_repl_offset", 0)),
            info.get("master_replid2", _NONE),
            int(info.get("second_repl_offset", 0)),
        )


class Failover(NamedTuple):
    """A replica became master."""

    lost: int  # bytes of changes that the old master was seen to have and the new one has not
    seen_ago: float  # seconds since the old master was last seen

    def __str__(self) -> str:
        if self.lost:
            known = f"it lacks the last {self.lost} bytes of changes that the old master had {self.seen_ago:.1f} s ago"
        else:
            known = f"it has all changes that the old master had {self.seen_ago:.1f} s ago"
        return (
            f"a replica of the store became its master: {known}, and may lack later ones; mail accepted and states "
            "written in them are lost. The server's min-replicas-to-write and min-replicas-max-lag bound such a loss"
        )


class Replication:
    """The histories seen so far, by id, with the offset and the time of the last look at each."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: dict[str, tuple[int, float]] = {}

    def look(self, histories: Iterable[History]) -> Failover | None:
        """The failover since the last look, if there was one."""
        now, found = self._clock(), None
        for history in histories:
            before = self._seen.pop(history.earlier, None) if history.replid not in self._seen else None
            if before is not None:
                offset, seen_at = before
                found = Failover(max(0, offset - history.earlier_end + 1), now - seen_at)
            self._seen[history.replid] = (history.offset, now)
        return found
