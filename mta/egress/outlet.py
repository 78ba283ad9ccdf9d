"""The outlet of one queue: the waiting transactions, the connections that carry them, and the room for more."""

import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence

from mta.egress.connect import Connected
from mta.egress.connection import Connection
from mta.egress.connection_opener import ConnectionOpener
from mta.egress.connections import Connections
from mta.egress.idle_slots import IdleSlots
from mta.egress.next_hosts import AllNextHosts, NextHosts
from mta.egress.outlet_parts import OutletParts
from mta.egress.peer_support import NOT_PLAIN, is_plain
from mta.egress.restart import may_restart
from mta.egress.rule_changes import RuleChanges
from mta.egress.shared_connections import Share
from mta.egress.transaction import Transaction
from mta.egress.transaction_start import TransactionStart
from mta.egress.waiting import Waiting
from mta.model.cancel_orders import CancelOrders
from mta.model.ids import MessageId
from mta.model.mail import Claimed, QueueKey
from mta.model.outcomes import Origin, ReturnReason
from mta.model.paths import SendingPath
from mta.model.rules import PastDot, Rule
from mta.policy.failures import Trouble
from mta.policy.rule_table import RuleTable
from mta.policy.shaping import Plan
from mta.timing.clock import wall_ms

FIRST_ROOM = 32
LEAST_ROOM = 16
ROOM_PER_CONNECTION = 8
MOST_WHILE_WANTED = 100  # messages of a connection, while mail of others waits for its slot
HEADROOM = 64  # deliveries of small shares that may wait beside a share that fills the room

_log = logging.getLogger(__name__)


class Outlet:
    """Only the opening of connections runs in tasks. The reply that ends a transaction starts the next one at once."""

    def __init__(self, queue: QueueKey, site: str, plan: Plan, parts: OutletParts) -> None:
        ports, delivery, connecting, end, permits, last_look, shared, self._emptied = parts
        self._queue = queue
        self.site = site
        self.take_plan(plan)
        self._capacity = ports.capacity
        self._refused = ports.refused
        self._connector = connecting.connector
        self._slots, self._budget = connecting.slots, connecting.budget
        self._shutdown = connecting.shutdown
        self._loop = connecting.loop
        self._delivery = delivery
        self._end = end
        self._last_look = last_look
        self._waiting = Waiting(ports.weigh, site)
        self._start = TransactionStart(
            queue, plan, ports, delivery, self._loop, end, permits, self._budget, self._shutdown, self
        )
        self.start_next, self._rest = self._start.start_next, self._start.rest
        self.connections = Connections(self._start.is_reserved)
        self._idle = self.connections.idle
        kept_for, reserved = delivery.idle_timeout, self._start.is_reserved
        self._idle_slots = IdleSlots(self._slots, self._loop, self._idle, kept_for, reserved)
        limiting = site if plan.is_limited or plan.per_ip is not None else ""
        # Limits of the domain's own hold for its connections alone.
        self._share = None if plan.has_domain else Share(shared, queue, limiting, self)
        self._opener = ConnectionOpener(
            queue, site, plan, connecting, self._share, self._waiting, self.connections, self
        )
        self._next_hosts = AllNextHosts(queue, connecting, end, self, delivery.alternate_after)
        self._changes = RuleChanges(self.connections, self._all_waiting, end)
        self._wants_room = False  # scheduling has asked for room and may have more mail than it got room for

    # For Egress

    def take_plan(self, plan: Plan) -> None:
        """Its mail goes by this plan from now on."""
        self.plan = plan
        self._most_carried = 0.0 if plan.carried_by_ip else float(plan.messages_per_connection or "inf")  # 0: by IP

    def room(self) -> int:
        """How many more deliveries it takes; scheduling is told when there is more room."""
        self._wants_room = True
        return max(0, self._room_within(0))

    def headroom(self, share: str) -> int:
        """How many deliveries it takes of a share that has none waiting here, while others have."""
        return max(0, self._room_within(HEADROOM)) if self._waiting.lacks(share) else 0

    def _room_within(self, more: int) -> int:
        if self._shutdown.begun or self._start.slowed or not self._opener.may_claim():
            return 0
        depth = self._depth() if self.connections.all else FIRST_ROOM
        return depth + more - self.waiting

    def can_start(self) -> bool:
        """Whether another transaction could start before a running one ends."""
        waiting, idle = len(self._waiting), len(self._idle)
        return waiting < idle or waiting < idle + self._opener.spare

    def deliver(self, deliveries: Sequence[Claimed]) -> None:
        """Attempt these deliveries. During the back-off after a failure to connect, they share that failure."""
        trouble = self._opener.trouble()
        if trouble is not None:
            deliveries = self._end.share_failure(deliveries, trouble)
        if len(plain := [claimed for claimed in deliveries if is_plain(claimed.record)]) < len(deliveries):
            self._end.settle_unsendable([one for one in deliveries if not is_plain(one.record)], NOT_PLAIN)
        self._waiting.add(plain)
        self._start_waiting()

    def pump(self) -> None:
        """Start waiting transactions on idle connections. Open another connection if more transactions wait."""
        self._start_waiting()
        self.report_room(force=False)

    @property
    def waiting(self) -> int:
        """Deliveries that wait here for a connection."""
        return self._waiting.deliveries + (self._next_hosts.deliveries if self._next_hosts else 0)

    @property
    def empty(self) -> bool:
        """Whether the outlet holds no transaction, no connection and no back-off, so that it can be dropped."""
        return not (self._waiting or self._next_hosts or self.connections) and self._start.quiet and self._opener.quiet

    def dropped(self) -> None:
        """It is empty, and is used no more. It leaves all lines, and lets go of its parts, which refer to it."""
        self._opener.unwanted()
        self._start.dropped()
        del self._start, self.start_next, self._rest, self._idle_slots, self.connections
        del self._share, self._opener, self._next_hosts, self._changes

    def tick(self, now: float) -> None:
        """Called several times a second: enforce deadlines, end expired deliveries, use places that other outlets
        freed."""
        for connection in list(self.connections.all):
            connection.expire(now)
        self._end.end_expired(self._waiting, wall_ms())
        self._end.end_waiting_for_new(self._waiting, now)
        self.pump()
        self._opener.tick(now)
        self._next_hosts.tick()
        if not self._waiting:
            self._opener.unwanted()

    def on_change(self, table: RuleTable, fresh: Sequence[Rule]) -> list[PastDot]:
        """Apply the new rules `fresh` of `table` to all transactions. Returns the deliveries that match and go on."""
        past = self._changes.table_swapped(table, fresh)
        self._drop_unwanted_attempts()
        return past

    def on_cancel(self, orders: CancelOrders) -> None:
        """End the canceled deliveries that have not handed over their final dot."""
        self._changes.canceled(orders)
        for connection, transaction in self._start.stop(lambda transaction: transaction.is_met_by(orders)):
            if self._end.settle_canceled(transaction, orders):
                connection.waiting.put_back(transaction)
            self.connection_free(connection)
        self._drop_unwanted_attempts()

    def on_permit(self) -> None:
        """The permit was renewed: give the final dots that waited for it their last look again."""
        for connection in list(self.connections.all):
            if connection.held and connection.transaction is not None:
                self._last_look.before_dot(connection, connection.transaction)
        self.pump()

    def end_silent(self, now: float, most: int) -> int:
        """End up to `most` connections and attempts whose peer has been silent for PATIENCE. Returns their number."""
        ended = self._opener.end_silent(now, most)
        return ended + self.connections.end_silent(now, most - ended)

    def yield_slots(self) -> None:
        """Mail of others waits for a slot of the site: close the connections that have none."""
        for connection in list(self._idle):
            self._idle_slots.look(connection)

    def slot_is_free(self) -> bool:
        """The site has a slot again. Returns whether one was waited for here."""
        return self._opener.slot_is_free()

    def retry_now(self) -> None:
        """A failure to connect is not remembered any longer."""
        self._opener.retry_now()

    def return_waiting(self, reason: ReturnReason) -> None:
        """Return the waiting transactions to scheduling, stop opening connections, and close idle ones. Running
        transactions go on."""
        _log.debug("%r returns its waiting deliveries: %s", self, reason.words)
        self._end.return_unattempted(self._take_waiting(), reason)
        self.connections.close_idle()

    def retire(self, is_meant: Callable[[SendingPath], bool]) -> None:
        """Close the connections on such paths, each after its running transaction."""
        for connection in list(self.connections.all):
            if is_meant(connection.slot.path):
                connection.retired = True
                if connection.transaction is None and not self._start.is_reserved(connection):
                    connection.close()

    def return_unsent(self, reason: ReturnReason) -> None:
        """Return every transaction that has not handed over its final dot to scheduling."""
        _log.debug("%r returns its deliveries before their final dot: %s", self, reason.words)
        self._end.return_unattempted(self._take_unsent(), reason)

    def discard_unsent(self) -> None:
        """The store gave this process's claims and slots to others. Abandon every transaction that has not handed over
        its final dot without settling it, and close each connection after its running transaction."""
        _log.debug("%r discards its deliveries before their final dot: the session was lost", self)
        self._take_unsent()
        for connection in list(self.connections.all):
            connection.retired = True
            if connection.transaction is None:
                connection.close()

    def close_now(self) -> None:
        """Close every connection. A transaction that has handed over its final dot ends as uncertain."""
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
            passed_on = self._next_hosts.pass_on(connection, transaction, outcomes) if any(connection.onward) else ()
            self._end.settle_each(transaction, outcomes, passed_on)
        self.connection_free(connection)

    def connection_free(self, connection: Connection) -> None:
        """Start the next transaction on the connection, or close the connection."""
        carried = connection.carried
        if (
            not connection.usable
            or self._shutdown.begun
            or carried >= (self._most_carried or self._most_from(connection))
            or (carried >= MOST_WHILE_WANTED and self._slots.is_wanted(connection.slot))
        ):
            if not connection.closed:
                connection.close()
                self._shutdown.progressed()
            self.pump()
            return
        if not connection.waiting.deliveries:
            self._rest(connection)
        elif self._share is not None and connection.waiting is self._waiting and self._share.end_turn(connection):
            self._opener.more()
            return
        else:
            self.start_next(connection)
        if connection.carried == 2:  # the first message was carried: the destination may get further connections
            self._opener.more()
        if self._wants_room and self._waiting.deliveries <= self._depth() >> 1:
            self.report_room(force=False)

    def connection_lost(self, connection: Connection) -> None:
        now = self._loop.time()
        self.connections.lost(connection, now)
        if self._share is not None and connection not in self._next_hosts.serves:
            self._share.closed(connection)
        self._next_hosts.lost(connection)
        connection.waiting = self._waiting  # for a transaction whose content is still being fetched
        self._slots.give(connection.slot)
        self._budget.release(connection, now)
        self._shutdown.progressed()
        self._wants_room = True
        self.pump()

    def __repr__(self) -> str:
        return (
            f"<Outlet {self._queue.pool}/{self._queue.domain} waiting={self._waiting.deliveries} "
            f"connections={len(self.connections)} idle={len(self._idle)} {self._opener!r}>"
        )

    def leave(self, connection: Connection) -> None:
        self.connections.leave(connection)
        if not self.connections.all:
            self._emptied(self._queue)

    # For connections of others (shared_connections.Taker)

    def adopt(self, connection: Connection) -> None:
        connection.move(self, self._waiting, self._idle)
        connection.onward = self._connector.onward(self._queue.domain, connection.target)
        self.connections.all.add(connection)
        self._budget.mark_busy(connection)
        self._budget.leave_line(self._queue)
        _log.debug("%r comes to %s", connection, self._queue.domain)
        self._wants_room = True
        self.connection_free(connection)

    def needs_connection(self) -> bool:
        return bool(self._waiting.ready) and not self._idle and not self._shutdown.begun

    def unused(self, connection: Connection) -> bool:
        if self._share is not None and connection.waiting is self._waiting and self._share.hand_on(connection):
            return True
        self._idle_slots.became_idle(connection)
        return False

    # For the opening of connections (opener_owner.OpenerOwner)

    def connected(self, connected: Connected) -> None:
        connection = self._add_connection(connected, self._waiting, self._idle)
        if self._share is not None:
            self._share.opened(connection)
        self.connection_free(connection)
        self._wants_room = True

    def unreachable(self, trouble: Trouble, message: MessageId | None) -> None:
        self._end.settle_unreachable(self._waiting.take_all(), trouble, message)

    def no_further_connection(self, trouble: Trouble) -> None:
        if self._refused is not None and trouble.origin is Origin.REMOTE:
            self._refused(self._queue, trouble.reply, trouble.host, trouble.mta)
        self._end.end_waiting_for_new(self._waiting, self._loop.time(), trouble)

    def no_slot(self) -> None:
        _log.debug("%r gets no slot of its domain: other processes hold them", self)
        self._end.return_unattempted(self._waiting.take_all(), ReturnReason.NO_SLOT)

    def report_room(self, *, force: bool = True) -> None:
        """Tell scheduling when at least half of the room is free; unless `force`, only after scheduling asked for
        room."""
        wanted = (self._wants_room or force) and not self._shutdown.begun and not self._start.slowed
        if wanted and self._waiting.deliveries <= self._depth() >> 1:
            self._wants_room = False
            self._capacity.room_for(self._queue, self.room)

    # For next hosts (next_hosts.NextHostsOwner)

    def connected_to_next_host(self, connected: Connected, hosts: NextHosts) -> None:
        connection = self._add_connection(connected, hosts.waiting, hosts.idle)
        self._next_hosts.serves[connection] = hosts
        self.connection_free(connection)

    # Inside

    def _add_connection(self, connected: Connected, waiting: Waiting, idle: deque[Connection]) -> Connection:
        connection = Connection(self, self._last_look, connected, self._delivery, self._loop, waiting, idle)
        self.connections.all.add(connection)
        connection.retired = connected.slot.outdated or not self._slots.may_use(self._queue.pool, connected.peer.mta)
        _log.debug("%r is open, %d to %s in all", connection, len(self.connections), self._queue.domain)
        return connection

    def _most_from(self, connection: Connection) -> float:
        """How many messages a connection from its IP may carry."""
        return self.plan.most_carried(self._slots.ip_scope(self._queue.pool, connection.peer.mta)) or float("inf")

    def _depth(self) -> int:
        """The number of deliveries that may wait here."""
        return max(LEAST_ROOM, ROOM_PER_CONNECTION * len(self.connections.all))

    def _start_waiting(self) -> None:
        idle = self._idle
        while self._waiting.ready and idle:
            connection = idle.popleft()
            self._budget.mark_busy(connection)
            if self._share is not None:
                self._share.busy(connection)
            if connection.usable and not self.start_next(connection):
                break
        self._opener.more()

    def _all_waiting(self) -> Iterator[Waiting]:
        yield self._waiting
        yield from self._next_hosts.waiting()

    def _drop_unwanted_attempts(self) -> None:
        """Waiting mail was taken away: end the attempts at connections that no transaction needs any more."""
        if not self._waiting:
            self._opener.unwanted(0.0)
        self._next_hosts.unwanted()

    def _take_waiting(self) -> list[Transaction]:
        """Take out the waiting transactions, and open no more connections."""
        self._opener.stop()
        self._next_hosts.stop()
        self._start.stop_waiting()
        return [transaction for waiting in self._all_waiting() for transaction in waiting.take_all()]

    def _take_unsent(self) -> list[Transaction]:
        """Take out the waiting transactions, and the running ones that have not handed over their final dot."""
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
