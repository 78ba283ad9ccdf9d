"""Shared connections: domains with the same hosts, the same pool and the same limits use one another's connections."""

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol
from weakref import WeakValueDictionary

from mta.egress.connection import Connection
from mta.egress.slots import Slot
from mta.egress.targets import Target
from mta.model.mail import QueueKey

_TURN = 10  # transactions of one queue in a row, while others wait for its connection
_LINE = 8  # queues that may claim mail for each open connection of the others


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


class Way:
    """The connections of one pool to one address, under the limits and TLS of one site: they are alike, so any outlet
    of the way may use them. There is one object for each way."""

    __slots__ = ("__weakref__", "idle", "kept", "open", "refused", "wanting")

    def __init__(self) -> None:
        self.idle: dict[Connection, None] = {}
        self.open = 0  # connections that are open, or for which a slot was taken
        self.wanting: dict[Share, None] = {}  # those with mail
        self.refused: dict[Share, None] = {}  # those that may claim no mail without a slot
        self.kept: dict[Slot, None] = {}  # slots for mail that is still to be claimed


class SharedConnections:
    """The ways of the connections of a worker."""

    def __init__(self, known: Callable[[str], Sequence[Target]]) -> None:
        """`known` gives the targets of a domain that were found lately, () = they are not known; it gives the same
        object while they are the same."""
        self.known = known
        self.kept: dict[Slot, tuple[Way, ...]] = {}
        self._ways = WeakValueDictionary[tuple[str, str, Target], Way]()
        # The ways that were asked for last: many domains in a row have the same targets.
        self._last: tuple[str, str, Sequence[Target], tuple[Way, ...]] = ("", "", (), ())

    def ways(self, pool: str, site: str, targets: Sequence[Target]) -> tuple[Way, ...]:
        """The ways to these targets, in their order."""
        last_pool, last_site, last_targets, found = self._last
        if last_targets is not targets or last_site != site or last_pool != pool:
            found = tuple([self.way(pool, site, target) for target in targets])
            self._last = pool, site, targets, found
        return found

    def way(self, pool: str, site: str, target: Target) -> Way:
        """`site`: whose limits and TLS hold for the connection, "" = none that has settings."""
        way = self._ways.get((pool, site, target))
        if way is None:
            way = self._ways[pool, site, target] = Way()
        return way


def _count(ways: Iterable[Way], change: int) -> None:
    """So many more connections are open, or will be."""
    for way in ways:
        way.open += change


class Share:
    """The part of one outlet in the shared connections."""

    def __init__(self, shared: SharedConnections, queue: QueueKey, site: str, taker: Taker) -> None:
        """`site`: whose settings hold for the queue, "" = none do."""
        self._shared = shared
        self._queue = queue
        self._site = site
        self._taker = taker
        self._wants: tuple[Way, ...] = ()
        self._refused: tuple[Way, ...] = ()
        self._known: Sequence[Target] = ()  # the targets of `_ways`
        self._ways: tuple[Way, ...] = ()

    def opened(self, connection: Connection) -> None:
        """A connection of the queue is open."""
        connection.way = self._shared.way(self._queue.pool, self._site, connection.target)
        connection.way.open += 1

    def closed(self, connection: Connection) -> None:
        """A connection that was opened for any outlet of its way is closed."""
        if connection.way is not None:
            connection.way.open -= 1
        self.busy(connection)

    def coming(self, change: int) -> Callable[[], None]:
        """A connection is being opened. Returns a call that says that it is not any more."""
        ways = self._ways_there()
        _count(ways, change)
        return lambda: _count(ways, -change)

    def keep(self, slot: Slot) -> None:
        """Keep a slot for the mail of any outlet of the same way, and tell those that wait for one."""
        ways = self._shared.kept[slot] = self._ways_there()
        for way in ways:
            way.kept[slot] = None
        _count(ways, 1)
        told = 0
        for way in ways:
            refused, way.refused = way.refused, {}
            for share in refused:
                if told < _LINE and share is not self:
                    share._taker.report_room()
                    told += 1

    def take_kept(self) -> Slot | None:
        """A slot that was kept for mail of any outlet of the same way."""
        for way in self._ways_there():
            for slot in way.kept:
                self.drop(slot)
                return slot
        return None

    def drop(self, slot: Slot) -> bool:
        """The slot is kept no longer. False: it is in use already."""
        ways = self._shared.kept.pop(slot, ())
        for way in ways:
            way.kept.pop(slot, None)
        _count(ways, -1)
        return bool(ways)

    def was_refused(self) -> None:
        """The outlet may claim no mail until it gets a slot, or one is kept for its way."""
        self._refused = self._ways_there()
        for way in self._refused:
            way.refused[self] = None

    def busy(self, connection: Connection) -> None:
        """The connection is not idle any more."""
        if connection.way is not None:
            connection.way.idle.pop(connection, None)

    def hand_on(self, connection: Connection) -> bool:
        """The queue has no mail for its idle connection: hand it to an outlet that waits for one. False: none does, and
        any may take it."""
        if self._give(connection):
            return True
        if connection.way is not None:
            connection.way.idle[connection] = None
        return False

    def end_turn(self, connection: Connection) -> bool:
        """Hand the connection on when it has carried a turn of this queue's mail and others wait for it."""
        return connection.carried - connection.turn_from >= _TURN and self._give(connection)

    def take(self) -> bool:
        """Take an idle connection of another outlet over. False: there is none."""
        for way in self._ways_there():
            if way.idle:
                connection = next(reversed(way.idle))
                self.busy(connection)
                if connection.usable:
                    connection.owner.leave(connection)
                    self._taker.adopt(connection)
                    return True
        return False

    def want(self) -> bool:
        """Wait for a connection of others. False: none is open that would come."""
        ways = self._ways_there()
        if ways != self._wants:
            self.leave()
            self._wants = ways
        for way in ways:
            way.wanting.setdefault(self, None)
        return any(way.open for way in ways)

    def leave(self) -> None:
        """Wait for no connection any more."""
        for way in self._wants:
            way.wanting.pop(self, None)
        for way in self._refused:
            way.refused.pop(self, None)
        self._wants = self._refused = ()

    @property
    def is_known(self) -> bool:
        """Whether the hosts of the queue are known, so that it can take connections of others."""
        return bool(self._shared.known(self._queue.domain))

    def may_wait(self) -> bool:
        """Whether connections of others are open that will come to mail of this queue before long."""
        return any(len(way.wanting) < _LINE * way.open for way in self._ways_there())

    def _give(self, connection: Connection) -> bool:
        """Give the connection to the outlet that has waited longest for one of its way."""
        way = connection.way
        while way is not None and way.wanting:
            share = next(iter(way.wanting))
            share.leave()
            if share is not self and share._taker.needs_connection():
                connection.owner.leave(connection)
                share._taker.adopt(connection)
                return True
        return False

    def _ways_there(self) -> tuple[Way, ...]:
        """The ways to the hosts of the queue, as far as these are known."""
        known = self._shared.known(self._queue.domain)
        if known is not self._known:
            self._known, self._ways = known, self._shared.ways(self._queue.pool, self._site, known)
        return self._ways
