"""A durable consumer of events: the delivery log; others may stand beside it."""

from collections.abc import Sequence
from typing import Protocol

from mta.model.events import Event

Item = tuple[str, Event]  # event id, event


class EventSink(Protocol):
    """Gets every event of the spool in its order, some of them again after a crash or a failure (same event id).

    Blocking calls, made on one thread. A sink that asks somebody who may not answer has a thread of its own: no call
    takes longer than a write to a disk.
    """

    def add(self, events: Sequence[Item]) -> None:
        """Prepare these for the next `write`. Raises OSError: they, and all that was added before them, come again."""
        ...

    def write(self) -> None:
        """Write what was added. A process that dies afterwards loses nothing; a machine that stops may lose what was
        not synced. Raises OSError: nothing of it was written, it comes again."""
        ...

    def sync(self) -> None:
        """On return everything written is durable. Asked after each error of the other calls, too. Raises OSError:
        everything since the last `sync` that returned comes again."""
        ...

    def reopen(self) -> None:
        """Let go of a file that was moved away (SIGHUP). Raises OSError."""
        ...

    def close(self) -> None: ...
