"""Messages that the processes of a cluster publish to each other: hints, any of which may be lost."""

from collections.abc import Callable
from typing import Protocol

from mta.model.mail import QueueKey


class Notices(Protocol):
    """Register a hook before the process begins to listen; hooks are synchronous."""

    def on_queued(self, hook: Callable[[int], None]) -> None:
        """Call `hook` with the lane in which a queue got mail that is due before the mail that was there."""
        ...

    def on_slots(self, hook: Callable[[str, bool], None]) -> None:
        """Call `hook` with a site that a process was refused a connection slot of (False), or that has one again
        (True)."""
        ...

    def on_retry(self, hook: Callable[[QueueKey], None]) -> None:
        """Call `hook` with a queue whose waiting mail was ordered to be attempted now."""
        ...

    def on_death(self, hook: Callable[[], None]) -> None:
        """Call `hook` when a session was given up for dead."""
        ...

    def on_reconnect(self, hook: Callable[[], None]) -> None:
        """Call `hook` when the process listens again: notices published meanwhile were not heard."""
        ...
