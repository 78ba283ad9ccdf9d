"""The outlet of one queue: its waiting transactions, the connections that carry them, and how much more it takes."""

import logging
from collections import deque
from collections.abc import Collection, Iterator, Sequence

from mta.egress.connect import Connected
from mta.egress.connection import Connection
from mta.egress.connection_opener import ConnectionOpener
from mta.egress.connections import Connections
from mta.egress.next_hosts import HostsBehind, NextHosts
from mta.egress.outcomes import of_trouble
from mta.egress.outlet_parts import OutletParts
from mta.egress.peer_support import NOT_PLAIN, is_plain
from mta.egress.restart import may_restart
from mta.egress.rule_changes import RuleChanges
from mta.egress.transaction import Transaction
from mta.egress.transaction_start import TransactionStart
from mta.egress.waiting import Waiting
from mta.model.ids import MessageId
from mta.model.mail import Claimed, QueueKey
from mta.model.outcomes import ReturnReason
from mta.model.rules import PastDot, Rule
from mta.policy.failures import Trouble
from mta.policy.rule_table import RuleTable
from mta.policy.shaping import Plan
from mta.timing.clock import wall_ms

FIRST_ROOM = 32
LEAST_ROOM = 16
ROOM_PER_CONNECTION = 8
HEADROOM = 64  # deliveries of small shares that may wait beside a share that fills the room

_log = logging.getLogger(__name__)


class Outlet:
    """Everything but opening a connection is synchronous: the reply that ends a transaction starts the next one."""

    def __init__(self, queue: QueueKey, plan: Plan, parts: OutletParts) -> None:
        ports, delivery, connecting, end, permits, last_look = parts
        self._queue = queue
        self._most = plan.messages_per_connection or float("inf")  # that one connection carries
        self._capacity = ports.capacity
        self._limits = ports.limits
        self._budget = connecting.budget
        self._shutdown = connecting.shutdown
        self._loop = connecting.loop
        self._delivery = delivery
        self._end = end
        self._last_look = last_look
        self._waiting = Waiting()
        self._start = TransactionStart(
            queue, plan, ports, delivery, self._loop, end, permits, self._budget, self._shutdown, self
        )
        self.start_next = self._start.start_next
        self.connections = Connections(self._start.is_reserved)
        self._idle = self.connections.idle
        self._opener = ConnectionOpener(queue, plan, connecting, self._waiting, self.connections, self)
        self._behind = HostsBehind(queue, connecting, end, self)
        self._changes = RuleChanges(self.connections, self._all_waiting, end)
        self._tell = False  # scheduling was given less room than it may have mail for

    # For Egress

    def room(self) -> int:
        """How many more deliveries it takes; scheduling is told when there is more room."""
        self._tell = True
        return max(0, self._room_within(0))

    def headroom(self, share: str) -> int:
        """How many deliveries it takes of a share that has none waiting here, while others have."""
        return max(0, self._room_within(HEADROOM)) if self._waiting.lacks(share) else 0

    def _room_within(self, more: int) -> int:
        if self._shutdown.begun or self._start.slowed or not self._opener.may_claim():
            return 0
        depth = self._depth() if self.connections else FIRST_ROOM
        return depth + more - self._waiting.deliveries - (self._behind.deliveries if self._behind else 0)

    def can_start(self) -> bool:
        """Whether another transaction could start without waiting for the end of one that runs."""
        return len(self._waiting) < len(self._idle) + self._opener.spare

    def deliver(self, deliveries: Sequence[Claimed]) -> None:
        """Attempt these deliveries; while no host can be reached, they share the last failure."""
        trouble = self._opener.trouble()
        if trouble is not None:
            deliveries = self._end.share_failure(deliveries, trouble)
        if len(plain := [claimed for claimed in deliveries if is_plain(claimed.record)]) < len(deliveries):
            self._end.claims([one for one in deliveries if not is_plain(one.record)], of_trouble(NOT_PLAIN))
        self._waiting.add(plain)
        self._start_waiting()

    def pump(self) -> None:
        """Start waiting transactions on idle connections, and open another connection where that is due."""
        self._start_waiting()
        self.tell_room(force=False)

    @property
    def waiting(self) -> int:
        """Deliveries that wait here for a connection."""
        return sum(waiting.deliveries for waiting in self._all_waiting())

    @property
    def empty(self) -> bool:
        """Whether nothing of the queue is here, and nothing is remembered of its hosts."""
        return not (self._waiting or self._behind or self.connections) and self._start.quiet and self._opener.quiet

    def tick(self, now: float) -> None:
        """Several times a second: deadlines, expiry, and what other outlets have let go of."""
        for connection in list(self.connections.all):
            connection.expire(now)
        self._end.expired(self._waiting, wall_ms())
        self._end.no_new_connection(self._waiting, now)
        self.pump()
        self._opener.tick(now)
        self._behind.tick()
        if not self._waiting:
            self._opener.unwanted()

    def on_change(self, table: RuleTable, fresh: Sequence[Rule]) -> list[PastDot]:
        """The rule table was swapped; `fresh` are the rules that are new in it. The transactions that go on are
        listed."""
        past = self._changes.table_swapped(table, fresh)
        self._end_unwanted()
        return past

    def on_cancel(self, messages: Collection[MessageId]) -> None:
        """These messages are canceled: their transactions that have not handed over their dot end."""
        self._changes.canceled(messages)
        for connection, transaction in self._start.stop(lambda transaction: transaction.message in messages):
            self._end.canceled(transaction)
            self.connection_free(connection)
        self._end_unwanted()

    def on_permit(self) -> None:
        """The permit of the rule table was renewed: dots that were held for it go on."""
        for connection in list(self.connections.all):
            if connection.held and connection.transaction is not None:
                self._last_look.before_dot(connection, connection.transaction)
        self.pump()

    def end_silent(self, now: float, most: int) -> int:
        """End up to `most` connections and attempts whose peer has been silent for long; how many."""
        ended = self._opener.end_silent(now, most)
        return ended + self.connections.end_silent(now, most - ended)

    def return_waiting(self, reason: ReturnReason) -> None:
        """Return the transactions that have not begun, stop opening, close idle connections; running ones go on."""
        _log.debug("%r returns what waits: %s", self, reason.words)
        self._end.returned(self._take_waiting(), reason)
        self.connections.close_idle()

    def return_unsent(self, reason: ReturnReason) -> None:
        """Return every transaction that has not handed over its dot."""
        _log.debug("%r returns what is not sent: %s", self, reason.words)
        self._end.returned(self._take_unsent(), reason)

    def discard_unsent(self) -> None:
        """The session was lost, and its claims and slots were given to others: abandon every transaction that has not
        handed over its dot, settle nothing, and close each connection after the transaction that it has."""
        _log.debug("%r discards what is not sent: the session was lost", self)
        self._take_unsent()
        for connection in list(self.connections.all):
            connection.retired = True
            if connection.transaction is None:
                connection.close()

    def close_now(self) -> None:
        """Close every connection; a transaction past its dot ends as uncertain."""
        self.connections.close_now()

    # For connections (connection.ConnectionOwner)

    def transaction_ended(self, connection: Connection, transaction: Transaction, trouble: Trouble | None) -> None:
        if not transaction.dot_at and may_restart(connection, transaction, trouble):
            transaction.restarts += 1
            connection.retired = True
            transaction.anew = transaction.anew and connection.waiting is self._waiting
            connection.waiting.put_back(transaction)
        else:
            outcomes = self._end.outcomes(connection, transaction, trouble)
            passed_on = self._behind.pass_on(connection, transaction, outcomes) if connection.behind else ()
            self._end.with_outcomes(transaction, outcomes, passed_on)
        self.connection_free(connection)

    def connection_free(self, connection: Connection) -> None:
        """Start the next transaction on it, or close it."""
        if not connection.usable or self._shutdown.begun or connection.carried >= self._most:
            if not connection.closed:
                connection.close()
                self._shutdown.progressed()
            self.pump()
            return
        self.start_next(connection)
        if connection.carried == 2:  # it has carried its first: there may be more connections now
            self._opener.more()
        if self._tell and self._waiting.deliveries <= self._depth() >> 1:
            self.tell_room(force=False)

    def connection_lost(self, connection: Connection) -> None:
        now = self._loop.time()
        self.connections.lost(connection, now)
        self._behind.lost(connection)
        connection.waiting = self._waiting  # for a transaction whose content is still being fetched
        self._limits.give_connection(self._queue)
        self._budget.release(connection, now)
        self._shutdown.progressed()
        self._tell = True
        self.pump()

    def __repr__(self) -> str:
        return (
            f"<Outlet {self._queue.pool}/{self._queue.domain} waiting={self._waiting.deliveries} "
            f"connections={len(self.connections)} idle={len(self._idle)} {self._opener!r}>"
        )

    # For the opening of connections (connection_opener.OpenerOwner)

    def connected(self, connected: Connected) -> None:
        self.connection_free(self._add(connected, self._waiting, self._idle))
        self._tell = True

    def unreachable(self, trouble: Trouble, message: MessageId | None) -> None:
        self._end.unreachable(self._waiting.take_all(), trouble, message)

    def no_further_connection(self, trouble: Trouble) -> None:
        self._end.no_new_connection(self._waiting, self._loop.time(), trouble)

    def no_slot(self) -> None:
        _log.debug("%r gets no slot of its domain: other processes hold them", self)
        self._end.returned(self._waiting.take_all(), ReturnReason.NO_SLOT)

    def tell_room(self, *, force: bool = True) -> None:
        """Tell scheduling that at least half of the room is free; unless `force`, only where it wants to know."""
        wanted = (self._tell or force) and not self._shutdown.begun and not self._start.slowed
        if wanted and self._waiting.deliveries <= self._depth() >> 1:
            self._tell = False
            self._capacity.room_for(self._queue, self.room)

    # For the hosts behind the first (next_hosts.NextHostsOwner)

    def connected_behind(self, connected: Connected, hosts: NextHosts) -> None:
        connection = self._add(connected, hosts.waiting, hosts.idle)
        self._behind.serves[connection] = hosts
        self.connection_free(connection)

    # Inside

    def _add(self, connected: Connected, waiting: Waiting, idle: deque[Connection]) -> Connection:
        connection = Connection(self, self._last_look, connected.peer, self._delivery, self._loop, waiting, idle)
        connection.behind = connected.behind
        self.connections.all.add(connection)
        _log.debug("%r is open, %d to %s in all", connection, len(self.connections), self._queue.domain)
        return connection

    def _depth(self) -> int:
        """Deliveries that may wait here."""
        return max(LEAST_ROOM, ROOM_PER_CONNECTION * len(self.connections))

    def _start_waiting(self) -> None:
        idle = self._idle
        while self._waiting.ready and idle:
            connection = idle.popleft()
            self._budget.wakes(connection)
            if connection.usable and not self.start_next(connection):
                break
        self._opener.more()

    def _all_waiting(self) -> Iterator[Waiting]:
        yield self._waiting
        yield from self._behind.waiting()

    def _end_unwanted(self) -> None:
        """Mail was taken away: connections that nothing waits for are not opened."""
        if not self._waiting:
            self._opener.unwanted(0.0)
        self._behind.unwanted()

    def _take_waiting(self) -> list[Transaction]:
        """Take out what waits, and open nothing more."""
        self._opener.stop()
        self._behind.stop()
        self._start.stop_waiting()
        return [transaction for waiting in self._all_waiting() for transaction in waiting.take_all()]

    def _take_unsent(self) -> list[Transaction]:
        """The same, and abandon what has not handed over its dot."""
        taken = self._take_waiting()
        for connection, transaction in self._start.stop(lambda _: True):
            connection.close_now()
            taken.append(transaction)
        for connection in list(self.connections.all):
            running = connection.transaction
            if running is not None and not running.dot_at:
                connection.abandon()
                taken.append(running)
        return taken
