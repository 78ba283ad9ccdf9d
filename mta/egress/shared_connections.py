"""Shared connections: domains with the same hosts, the same pool and the same limits use one another's connections."""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, Protocol

from mta.egress.connection import Connection
from mta.egress.slots import Slot
from mta.egress.targets import Target
from mta.model.mail import QueueKey

_TURN = 10  # transactions of one queue in a row, while others wait for its connection
_LINE = 8  # queues that may claim mail for each open connection of the others


class Way(NamedTuple):
    """Connections of the same way are alike."""

    pool: str
    site: str  # whose limits and TLS hold for the connection, "" = none that has settings
    target: Target


class Taker(Protocol):
    """An outlet, as the connections of others see it."""

    def adopt(self, connection: Connection) -> None:
        """The connection is its own now: start a transaction on it."""
        ...

    def report_room(self) -> None:
        """The outlet may claim mail: a slot is there for it."""
        ...

    def needs_connection(self) -> bool:
        """Whether a transaction waits that any connection may carry, and no own connection will come for it soon."""
        ...


class SharedConnections:
    """The connections of a worker that any outlet of the same way may use, and the outlets that wait for one."""

    def __init__(self, known: Callable[[str], Sequence[Target]]) -> None:
        """`known` gives the targets of a domain that were found lately, () = they are not known."""
        self.known = known
        self.idle: dict[Way, dict[Connection, None]] = {}
        self.open: dict[Way, int] = {}  # connections that are open, or for which a slot was taken
        self.wanting: dict[Way, dict[Share, None]] = {}  # those with mail
        self.refused: dict[Way, dict[Share, None]] = {}  # those that may claim no mail without a slot
        self.kept: dict[Way, dict[Slot, tuple[Way, ...]]] = {}  # slots for mail that is still to be claimed

    def count(self, ways: Iterable[Way], change: int) -> None:
        """So many more connections are open, or will be."""
        for way in ways:
            left = self.open.get(way, 0) + change
            if left:
                self.open[way] = left
            else:
                del self.open[way]


class Share:
    """The part of one outlet in the shared connections."""

    def __init__(self, shared: SharedConnections, queue: QueueKey, site: str, taker: Taker) -> None:
        """`site`: whose settings hold for the queue, "" = none do."""
        self._shared = shared
        self._queue = queue
        self._site = site
        self._taker = taker
        self._wants: tuple[Way, ...] = ()

    def opened(self, connection: Connection) -> None:
        """A connection of the queue is open."""
        self._shared.count((self._way(connection),), 1)

    def closed(self, connection: Connection) -> None:
        """A connection that was opened for any outlet of its way is closed."""
        self._shared.count((self._way(connection),), -1)
        self.busy(connection)

    def coming(self, change: int) -> Callable[[], None]:
        """A connection is being opened. Returns a call that says that it is not any more."""
        ways = self._ways()
        self._shared.count(ways, change)
        return lambda: self._shared.count(ways, -change)

    def keep(self, slot: Slot) -> None:
        """Keep a slot for the mail of any outlet of the same way, and tell those that wait for one."""
        ways = self._ways()
        for way in ways:
            self._shared.kept.setdefault(way, {})[slot] = ways
        self._shared.count(ways, 1)
        told = 0
        for way in ways:
            for share in list(self._shared.refused.pop(way, ())):
                if told < _LINE and share is not self:
                    share._taker.report_room()
                    told += 1

    def take_kept(self) -> Slot | None:
        """A slot that was kept for mail of any outlet of the same way."""
        for way in self._ways():
            for slot in self._shared.kept.get(way, ()):
                self.drop(slot)
                return slot
        return None

    def drop(self, slot: Slot) -> bool:
        """The slot is kept no longer. False: it is in use already."""
        ways = next((found for kept in self._shared.kept.values() if (found := kept.get(slot))), ())
        for way in ways:
            kept = self._shared.kept[way]
            kept.pop(slot, None)
            if not kept:
                del self._shared.kept[way]
        self._shared.count(ways, -1)
        return bool(ways)

    def was_refused(self) -> None:
        """The outlet may claim no mail until it gets a slot, or one is kept for its way."""
        for way in self._ways():
            self._shared.refused.setdefault(way, {})[self] = None

    def busy(self, connection: Connection) -> None:
        """The connection is not idle any more."""
        way = self._way(connection)
        idle = self._shared.idle.get(way)
        if idle is not None and idle.pop(connection, self) is None and not idle:
            del self._shared.idle[way]

    def hand_on(self, connection: Connection) -> bool:
        """The queue has no mail for its idle connection: hand it to an outlet that waits for one. False: none does, and
        any may take it."""
        if self._give(connection):
            return True
        self._shared.idle.setdefault(self._way(connection), {})[connection] = None
        return False

    def end_turn(self, connection: Connection) -> bool:
        """Hand the connection on when it has carried a turn of this queue's mail and others wait for it."""
        return connection.carried - connection.turn_from >= _TURN and self._give(connection)

    def take(self) -> bool:
        """Take an idle connection of another outlet over. False: there is none."""
        for target in self._shared.known(self._queue.domain):
            idle = self._shared.idle.get(Way(self._queue.pool, self._site, target))
            if idle:
                connection = next(reversed(idle))
                if connection.usable:
                    self.busy(connection)
                    connection.owner.leave(connection)
                    self._taker.adopt(connection)
                    return True
                self.busy(connection)
        return False

    def want(self) -> bool:
        """Wait for a connection of others. False: none is open that would come."""
        ways = self._ways()
        if ways != self._wants:
            self.leave()
            self._wants = ways
        for way in ways:
            self._shared.wanting.setdefault(way, {}).setdefault(self, None)
        return any(way in self._shared.open for way in ways)

    def leave(self) -> None:
        """Wait for no connection any more."""
        for way in self._wants:
            wanting = self._shared.wanting.get(way, {})
            wanting.pop(self, None)
            if not wanting:
                self._shared.wanting.pop(way, None)
        self._wants = ()
        if self._shared.refused:
            for way in self._ways():
                refused = self._shared.refused.get(way)
                if refused is not None and refused.pop(self, self) is None and not refused:
                    del self._shared.refused[way]

    @property
    def is_known(self) -> bool:
        """Whether the hosts of the queue are known, so that it can take connections of others."""
        return bool(self._shared.known(self._queue.domain))

    def may_wait(self) -> bool:
        """Whether connections of others are open that will come to mail of this queue before long."""
        return any(
            len(self._shared.wanting.get(way, ())) < _LINE * self._shared.open.get(way, 0) for way in self._ways()
        )

    def _give(self, connection: Connection) -> bool:
        """Give the connection to the outlet that has waited longest for one of its way."""
        wanting = self._shared.wanting.get(self._way(connection))
        while wanting:
            share = next(iter(wanting))
            share.leave()
            if share is not self and share._taker.needs_connection():
                connection.owner.leave(connection)
                share._taker.adopt(connection)
                return True
        return False

    def _ways(self) -> tuple[Way, ...]:
        pool, site = self._queue.pool, self._site
        return tuple(Way(pool, site, target) for target in self._shared.known(self._queue.domain))

    def _way(self, connection: Connection) -> Way:
        return Way(self._queue.pool, self._site, connection.target)
