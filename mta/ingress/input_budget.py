"""The ration of input: how much the sessions of a process may keep of messages that have not come to their end."""

from itertools import islice
from typing import Protocol

HEAVY = 256 * 1024  # octets; what keeps less is not counted
MOST = 256 * 1024 * 1024  # octets of all that are counted
ALWAYS = 4  # sessions that read on whatever is kept, the oldest: so messages come to their ends


class Reader(Protocol):
    """A session, as its ration sees it."""

    def read_on(self) -> None:
        """It was told to stop, and may go on."""
        ...


class Ration:
    """Beyond the most, all but the oldest sessions wait until others have handed their messages over."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._kept: dict[Reader, int] = {}  # the oldest first
        self._stopped: dict[Reader, None] = {}
        self._sum = 0

    def weigh(self, session: Reader, octets: int) -> bool:
        """`session` keeps so much now; False: it is to read no more until it is told to."""
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
                stopped.read_on()
        if octets <= HEAVY or self._may_read(session):
            return True
        self._stopped[session] = None
        return False

    def _may_read(self, session: Reader) -> bool:
        return self._sum < self._most or session in islice(self._kept, ALWAYS)
