"""The input budget: bounds the unfinished messages that the sessions of a process keep in memory."""

from itertools import islice
from typing import Final, Protocol

HEAVY: Final = 256 * 1024  # octets; a session that keeps less is not counted
MOST: Final = 256 * 1024 * 1024  # octets of all sessions that are counted
ALWAYS: Final = 4  # the oldest sessions always read, so that some messages come to their ends


class Reader(Protocol):
    """A session, as the budget sees it."""

    def resume(self) -> None:
        """The session stopped reading and may read again."""
        ...


class InputBudget:
    """When the budget is used up, all sessions but the oldest stop reading until others have submitted their
    messages."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._kept: dict[Reader, int] = {}  # the oldest first
        self._stopped: dict[Reader, None] = {}
        self._sum = 0

    def charge(self, session: Reader, octets: int) -> bool:
        """Note that `session` keeps `octets` now. False: it must stop reading until the budget calls `resume`."""
        before = self._kept.get(session, 0)
        if octets > HEAVY:
            self._kept[session] = octets
            self._sum += octets - before
        else:
            self._kept.pop(session, None)
            self._stopped.pop(session, None)
            self._sum -= before
        if octets < before:
            for stopped in [one for one in self._stopped if self._may_read(one)]:
                del self._stopped[stopped]
                stopped.resume()
        if octets <= HEAVY or self._may_read(session):
            return True
        self._stopped[session] = None
        return False

    def _may_read(self, session: Reader) -> bool:
        return self._sum < self._most or session in islice(self._kept, ALWAYS)
