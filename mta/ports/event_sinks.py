"""A durable consumer of events: the delivery log; others may stand beside it."""

from collections.abc import Sequence
from typing import Protocol

from mta.model.events import Event

Item = tuple[str, Event]  # event id, event


class EventSink(Protocol):
    """Gets every event of the spool in its order, some of them again after a crash or a failure (same event id).

    Blocking calls, made on one thread. Each may raise OSError: everything since the last `sync` that returned is handed
    over again later, and the sink drops what it had added. A sink that asks somebody who may not answer has a thread of
    its own: no call takes longer than a write to a disk.
    """

    def add(self, events: Sequence[Item]) -> None:
        """Prepare these for the next `write`."""
        ...

    def write(self) -> None:
        """Write what was added: all of it or, with OSError, nothing. A process that dies afterwards loses nothing; a
        machine that stops may lose what was not synced."""
        ...

    def sync(self) -> None:
        """On return everything written is durable."""
        ...

    def reopen(self) -> None:
        """Let go of what was moved away (SIGHUP)."""
        ...

    def close(self) -> None: ...
