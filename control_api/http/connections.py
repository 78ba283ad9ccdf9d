"""The API's open connections: bounded in number, with a share that only clients with a valid token can use up.

A connection is a stranger until one of its requests has shown a valid token. When there are too many strangers, a new
one takes the place of the oldest, so that however many clients connect and say nothing, an order gets through.
"""

import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, Protocol

from control_api.http.rare_log import RareLog

MOST: Final = 1024  # connections of one API process
_OTHERS: Final = 384  # descriptors for the store, for files, and for connections that are accepted in one turn
_LEAST: Final = 64

_log = logging.getLogger(__name__)


class Connection(Protocol):
    """A connection as the bound sees it."""

    def is_idle(self) -> bool:
        """Whether no request is under way."""
        ...

    def check(self, now: float) -> None:
        """Close it where its header has taken too long."""
        ...

    def drop(self) -> None:
        """Close the connection at once, also during a request."""
        ...


def most_connections(descriptors: int) -> int:
    """The number of connections that may be open if the process may have this number of descriptors."""
    return max(_LEAST, min(MOST, descriptors - _OTHERS))


class Connections:
    """The open connections, in the order in which they came."""

    def __init__(self, most: int = MOST, clock: Callable[[], float] = time.monotonic) -> None:
        self._most_strangers = most * 3 // 4
        self._most_known = most - self._most_strangers
        self._strangers: OrderedDict[Connection, None] = OrderedDict()
        self._known: OrderedDict[Connection, None] = OrderedDict()
        self._clock = clock
        self._full = RareLog(_log)

    def __len__(self) -> int:
        return len(self._strangers) + len(self._known)

    def __repr__(self) -> str:
        return f"<Connections: {len(self._known)} with a token, {len(self._strangers)} without>"

    def opened(self, connection: Connection) -> None:
        self._strangers[connection] = None
        if len(self._strangers) > self._most_strangers:
            oldest, _ = self._strangers.popitem(last=False)
            oldest.drop()
            self._full.warning(
                f"{self._most_strangers} connections to the API without a valid token are open: the oldest are closed"
            )

    def authenticated(self, connection: Connection) -> None:
        """It showed a valid token. It stays a stranger where all places are taken by such that are busy."""
        if connection in self._known:
            self._known.move_to_end(connection)
        elif connection in self._strangers and self._has_room():
            del self._strangers[connection]
            self._known[connection] = None

    def _has_room(self) -> bool:
        if len(self._known) < self._most_known:
            return True
        idle = next((known for known in self._known if known.is_idle()), None)
        if idle is None:
            return False
        del self._known[idle]
        idle.drop()
        return True

    def closed(self, connection: Connection) -> None:
        self._strangers.pop(connection, None)
        self._known.pop(connection, None)

    def check(self) -> None:
        """Look at the deadlines; called once a second."""
        now = self._clock()
        for connection in (*self._strangers, *self._known):
            connection.check(now)
