"""How much input the sessions of a process may keep of messages that have not come to their end."""

from itertools import islice
from typing import Final, Protocol

HEAVY: Final = 256 * 1024  # octets; a session that keeps less is not counted
MOST: Final = 256 * 1024 * 1024  # octets of all sessions that are counted
ALWAYS: Final = 4  # the oldest sessions read on whatever is kept, so that messages come to their ends


class Reader(Protocol):
    """A session, as the budget sees it."""

    def resume(self) -> None:
        """The session was told to stop reading, and may go on."""
        ...


class InputBudget:
    """When it is used up, all but the oldest sessions wait until others have handed their messages over."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._kept: dict[Reader, int] = {}  # the oldest first
        self._stopped: dict[Reader, None] = {}
        self._sum = 0

    def charge(self, session: Reader, octets: int) -> bool:
        """`session` keeps so many octets now. False: it must stop reading until `resume` is called."""
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
