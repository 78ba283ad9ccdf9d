"""The connections of one outlet: which are productive, which are idle, and which to close for other destinations."""

from collections import deque
from collections.abc import Callable

from mta.egress.connection import Connection
from mta.egress.connection_budget import LATELY, PATIENCE


class Connections:
    """A set of connections. `reserved`: whether an idle one waits for the content of its next transaction."""

    def __init__(self, reserved: Callable[[Connection], bool]) -> None:
        self.all: set[Connection] = set()
        self.idle: deque[Connection] = deque()
        self._reserved = reserved
        self._departed = 0  # connections that had carried something and were closed
        self._departed_since = 0.0

    def __len__(self) -> int:
        return len(self.all)

    def leave(self, connection: Connection) -> None:
        """It belongs to another outlet, or to none, from now on."""
        self.all.discard(connection)
        if connection in self.idle:
            self.idle.remove(connection)

    def lost(self, connection: Connection, now: float) -> None:
        self.leave(connection)
        if connection.carried - bool(connection.machine.broken) > 0:
            if now - self._departed_since > LATELY:
                self._departed, self._departed_since = 0, now
            self._departed += 1

    @property
    def busy(self) -> bool:
        """Whether a transaction is running."""
        return any(connection.transaction is not None for connection in self.all)

    @property
    def usable(self) -> int:
        """Connections that can carry another transaction."""
        return sum(connection.usable for connection in self.all) if self.all else 0

    @property
    def kept(self) -> int:
        """Connections that are not being closed."""
        return sum(not connection.quitting for connection in self.all) if self.all else 0

    def productive(self, now: float) -> int:
        """How many connections carried something lately, those closed since included."""
        departed = self._departed if now - self._departed_since <= LATELY else 0
        return departed + (sum(connection.productive(now) for connection in self.all) if self.all else 0)

    def works(self, now: float) -> bool:
        """Whether there is none yet, or one that carried something lately."""
        return not self.all or any(connection.productive(now) for connection in self.all)

    def standing(self, now: float) -> tuple[int, int]:
        """The number of connections that could be closed after their transaction, and of those that will be. One whose
        transaction has been running for long counts as neither."""
        able = leaving = 0
        for connection in self.all:
            if connection.transaction is None or now - connection.transaction.begun_at < LATELY:
                able += connection.usable
                leaving += not connection.usable
        return able, leaving

    def close_one(self, now: float) -> None:
        """Close an idle connection; else one after its transaction, the one that began last."""
        best: Connection | None = None
        for connection in self.all:
            if not connection.usable:
                continue
            if connection.transaction is None and not self._reserved(connection):
                connection.close()
                return
            begun = connection.transaction.begun_at if connection.transaction is not None else now
            if best is None or best.transaction is None or begun > best.transaction.begun_at:
                best = connection
        if best is not None:
            best.retired = True

    def end_silent(self, now: float, most: int) -> int:
        """End up to `most` connections whose peer has not answered for PATIENCE and that have not handed over a dot.
        Returns their number."""
        ended = 0
        for connection in list(self.all):
            if ended < most and connection.silence(now) >= PATIENCE:
                connection.deadline = now
                connection.expire(now)
                ended += 1
        return ended

    def close_idle(self) -> None:
        for connection in list(self.all):
            if connection.transaction is None and not self._reserved(connection):
                connection.close()

    def close_now(self) -> None:
        for connection in list(self.all):
            connection.close_now()
