"""The outlet of one queue: its transactions that wait, the connections that carry them, and when to open another."""

import asyncio
from collections.abc import Collection, Sequence

from mta.egress.connect import Reached
from mta.egress.connection import Connection
from mta.egress.connection_opener import Opening
from mta.egress.connections import Connections
from mta.egress.content_fetch import Fetching
from mta.egress.dial import Line
from mta.egress.house import House
from mta.egress.next_hosts import HostsBehind, NextHosts
from mta.egress.peer_support import NOT_PLAIN, is_plain, misfit
from mta.egress.transaction import Transaction, canceled, of_trouble, results, returned
from mta.egress.transaction_end import Settling, may_restart
from mta.egress.waiting import Waiting
from mta.model.ids import MessageId
from mta.model.mail import Claimed, QueueKey
from mta.model.outcomes import Stage
from mta.model.phases import Phase
from mta.model.rules import InFlight, PastDot, Rule
from mta.model.settings import DomainSettings
from mta.policy.failures import Trouble, broken
from mta.policy.rule_table import RuleTable
from mta.timing.clock import wall_ms

FIRST_ROOM = 32
LEAST_ROOM = 16
ROOM_PER_CONNECTION = 8


class Outlet:
    """Everything but opening a connection is synchronous: the reply that ends a transaction begins the next one."""

    def __init__(self, house: House, queue: QueueKey) -> None:
        self._house = house
        self._queue = queue
        self._domain = house.settings.domains.get(queue.domain) or DomainSettings()
        self._waiting = Waiting()
        self._fetching = Fetching(house.content, house.loop, self._fetched)
        self.connections = Connections(self._fetching.reserved)
        self._opening = Opening(house, queue, self._domain, self._waiting, self.connections, self)
        self._settling = Settling(house)
        self._behind = HostsBehind(house, queue, self._settling, self)
        self._slow_until = 0.0  # loop time until which the message rate allows nothing
        self._timer: asyncio.TimerHandle | None = None
        self._tell = False  # scheduling was given less than it may have work for

    # What Egress asks

    def room(self) -> int:
        self._tell = True
        house = self._house
        if house.draining or self._slow_until > house.loop.time() or not self._opening.may_claim():
            return 0
        depth = max(LEAST_ROOM, ROOM_PER_CONNECTION * len(self.connections)) if self.connections else FIRST_ROOM
        return max(0, depth - self._waiting.deliveries - (self._behind.deliveries if self._behind else 0))

    def may_begin(self) -> bool:
        return len(self._waiting) < len(self.connections.idle) + self._opening.spare

    def take(self, deliveries: Sequence[Claimed]) -> None:
        trouble = self._opening.trouble()
        if trouble is not None:
            deliveries = self._settling.sharing(deliveries, trouble)
        if len(plain := [claimed for claimed in deliveries if is_plain(claimed.record)]) < len(deliveries):
            self._settling.all([one for one in deliveries if not is_plain(one.record)], of_trouble(NOT_PLAIN))
        self._waiting.add(plain)
        self._start()

    def pump(self) -> None:
        """Put waiting transactions on idle connections, and open another connection where that is due."""
        self._start()
        self._tell_room()

    @property
    def empty(self) -> bool:
        waits = self._waiting or self._behind
        return not (waits or self.connections or self._fetching or self._timer) and self._opening.quiet

    def tick(self, now: float) -> None:
        for connection in list(self.connections.all):
            connection.expire(now)
        self._settling.expired(self._waiting, wall_ms())
        self._settling.no_new(self._waiting, now)
        self.pump()
        self._opening.tick(now)
        self._behind.tick()
        if not self._waiting:
            self._opening.unwanted()

    def on_change(self, table: RuleTable, fresh: Sequence[Rule]) -> list[PastDot]:
        """End what matches and has not handed over its dot; but what has begun goes on where every rule that it meets
        lets it finish. List what goes on, under each of the `fresh` rules."""
        queue = self._queue
        past: list[PastDot] = []
        for connection in list(self.connections.all):
            transaction, line = connection.transaction, connection.line
            rule = None if transaction is None else self._rule_for(transaction, line, table)
            if transaction is None or rule is None:
                continue
            pool, domain, labels = queue.pool, queue.domain, transaction.labels
            met = [r for r in fresh if table.matches(r, pool, line.mta, domain, labels, line.ip, line.host)]
            if transaction.dot_at or all(known.in_flight is InFlight.FINISH for known in (rule, *met)):
                for known in met:
                    past += transaction.listed(known.id)
            else:
                connection.give_up()
                self._settling.force(transaction, rule, table, Stage.BEFORE_DOT, line)
        mta = queue.pool[1:] if queue.pool.startswith("@") else ""  # of a larger pool it is not known before MAIL
        for waiting in (self._waiting, *self._behind.waiting()):
            for transaction in waiting.take_all():
                rule = table.match(queue.pool, mta, queue.domain, transaction.labels)
                if rule is None:
                    waiting.put_last(transaction)
                else:
                    self._settling.force(transaction, rule, table, Stage.ATTEMPT, None)
        self._end_unwanted()
        return past

    def on_cancel(self, messages: Collection[MessageId]) -> None:
        """End what is of these messages and has not handed over its dot, as canceled."""
        for waiting in (self._waiting, *self._behind.waiting()):
            for transaction in waiting.take_all():
                if transaction.message in messages:
                    self._settling.transaction(transaction, canceled(None, 0))
                else:
                    waiting.put_last(transaction)
        for connection in list(self.connections.all):
            running = connection.transaction
            if running is not None and not running.dot_at and running.message in messages:
                connection.give_up()
                self._settling.transaction(running, canceled(connection.line, self._settling.ms(running)))
        for connection, transaction in self._fetching.stop(lambda transaction: transaction.message in messages):
            self._settling.transaction(transaction, canceled(None, 0))
            self.rested(connection)
        self._end_unwanted()

    def end_silent(self, now: float, most: int) -> int:
        """End up to `most` connections and attempts whose peer has been silent for long; how many."""
        ended = self._opening.end_silent(now, most)
        return ended + self.connections.end_silent(now, most - ended)

    def give_back(self, why: str) -> None:
        """Return what was not begun, stop opening, close what is idle; what runs goes on."""
        ready = self._clear()
        outcome = returned(why)
        for transaction in ready:
            self._settling.transaction(transaction, outcome)
        self.connections.close_idle()

    def drop(self, why: str | None) -> None:
        """Give up all that has not handed over its dot. `why` None: the claims are others' now, nothing is settled."""
        gone = self._clear()
        for connection, transaction in self._fetching.stop(lambda _: True):
            connection.abort()
            gone.append(transaction)
        for connection in list(self.connections.all):
            running = connection.transaction
            if running is not None and not running.dot_at:
                connection.give_up()
                gone.append(running)
        if why is not None:
            for transaction in gone:
                self._settling.transaction(transaction, returned(why))
            return
        # The slots of these connections were given to others with the session.
        for connection in list(self.connections.all):
            connection.retired = True
            if connection.transaction is None:
                connection.close()

    def abort(self) -> None:
        """Close every connection at once; a transaction past its dot ends as uncertain."""
        self.connections.abort()

    # What connections ask (connection.Owner)

    def look(self, connection: Connection, transaction: Transaction) -> None:
        rules = self._house.rules
        table = rules.table
        rule = self._rule_for(transaction, connection.line, table)
        # Only what is on the rule's list may still hand over its dot.
        if rule is not None and (rule.in_flight is InFlight.ABORT or rule.id not in transaction.past_dot_of):
            connection.give_up()
            self._settling.force(transaction, rule, table, Stage.BEFORE_DOT, connection.line)
        elif rules.may_dot():
            connection.go_on()
        else:
            self._house.no_permit(transaction, "dot")
            connection.hold(self._house.delivery.dot_hold)

    def look_again(self) -> None:
        """A permit came: dots that waited for it go on."""
        for connection in list(self.connections.all):
            if connection.held and connection.transaction is not None:
                self.look(connection, connection.transaction)
        self.pump()

    def dot_written(self, connection: Connection, transaction: Transaction) -> None:
        self._house.second_look(connection, transaction)

    def held_too_long(self, connection: Connection, transaction: Transaction) -> None:
        connection.give_up()
        self._house.permit_aborts += 1
        self._settling.transaction(transaction, returned("no permit of the rule table for too long"))

    def ended(self, connection: Connection, transaction: Transaction, trouble: Trouble | None) -> None:
        if may_restart(connection, transaction, trouble):
            transaction.restarts += 1
            connection.retired = True
            waiting = self._waiting_for(connection)
            transaction.anew = transaction.anew and waiting is self._waiting
            waiting.put_back(transaction)
        else:
            ms = self._settling.ms(transaction)
            outcomes = results(transaction, connection.machine, connection.line, trouble, ms)
            left = self._behind.pass_on(connection, transaction, outcomes) if connection.behind else ()
            settle = self._house.settle.settle
            for claimed, outcome in zip(transaction.claims, outcomes, strict=True):
                if claimed.id not in left:
                    settle(claimed, outcome)
        self.rested(connection)

    def rested(self, connection: Connection) -> None:
        most = self._domain.messages_per_connection
        if connection.closed:
            self.pump()
            return
        if not connection.usable or self._house.draining or (most and connection.carried >= most):
            connection.close()
            self._house.progress.set()
            self.pump()
            return
        self.next(connection)
        if connection.carried == 2:  # it has carried its first: there may be more connections now
            self._opening.more()
        if self._tell and self._waiting.deliveries <= (ROOM_PER_CONNECTION * len(self.connections)) >> 1:
            self._tell_room()

    def lost(self, connection: Connection) -> None:
        now = self._house.loop.time()
        self.connections.lost(connection, now)
        self._behind.lost(connection)
        self._house.limits.give_connection(self._queue)
        self._house.budget.release(connection, now)
        self._house.progress.set()
        self._tell = True
        self.pump()

    def __repr__(self) -> str:
        return (
            f"<Outlet {self._queue.pool}/{self._queue.domain} waiting={self._waiting.deliveries} "
            f"connections={len(self.connections)} idle={len(self.connections.idle)} {self._opening!r}>"
        )

    # What the opening of connections asks (opening.Owner)

    def connected(self, reached: Reached) -> None:
        self.rested(self._connection(reached))
        self._tell = True

    def _connection(self, reached: Reached) -> Connection:
        connection = Connection(self, reached.line, self._house.delivery, self._house.loop)
        connection.behind = reached.behind
        self.connections.all.add(connection)
        return connection

    def unreachable(self, trouble: Trouble, message: MessageId | None) -> None:
        self._settling.unreachable(self._waiting.take_all(), trouble, message)

    def no_new(self, trouble: Trouble) -> None:
        self._settling.no_new(self._waiting, self._house.loop.time(), trouble)

    def crowded_out(self) -> None:
        self._settling.waiting(self._waiting, returned("other processes hold every connection to this domain"))

    def may_have_room(self) -> None:
        self._tell_room(force=True)

    # What the hosts behind the first ask (next_hosts.NextHostsOwner)

    def connected_behind(self, reached: Reached, hosts: NextHosts) -> None:
        connection = self._connection(reached)
        self._behind.serves[connection] = hosts
        self.rested(connection)

    def _waiting_for(self, connection: Connection) -> Waiting:
        hosts = self._behind.serves.get(connection) if self._behind.serves else None
        return self._waiting if hosts is None else hosts.waiting

    def _end_unwanted(self) -> None:
        """Mail was taken away: connections that nothing waits for are not opened."""
        if not self._waiting:
            self._opening.unwanted(0.0)
        self._behind.unwanted()

    # Transactions

    def _start(self) -> None:
        idle = self.connections.idle
        while self._waiting.ready and idle:
            connection = idle.popleft()
            self._house.budget.wakes(connection)
            if connection.usable and not self.next(connection):
                break
        self._opening.more()

    def next(self, connection: Connection) -> bool:
        """The next transaction on this connection; False: none may begin, it is idle now."""
        house, waiting, line = self._house, self._waiting_for(connection), connection.line
        now, new = wall_ms(), not connection.carried
        while (transaction := waiting.first(new=new)) is not None and not house.draining:
            table = house.rules.table
            rule = self._rule_for(transaction, line, table)
            if rule is not None:
                self._settling.force(waiting.pop(transaction), rule, table, Stage.ATTEMPT, line)
                continue
            if transaction.expires_at <= now:
                self._settling.expired(waiting, now)
                continue
            if not house.rules.may_begin():
                house.no_permit(transaction, "mail")
                break
            trouble = misfit(transaction, line)
            if trouble is not None:
                self._settling.unfit(waiting.pop(transaction), of_trouble(trouble, line))
                continue
            if (wait := house.limits.take_message(self._queue)) > 0:
                self._slow_until = house.loop.time() + wait
                self._pump_in(wait)
                break
            waiting.pop(transaction)
            if transaction.content is None:
                connection.rest(house.delivery.command_timeout)
                self._fetching.start(connection, transaction)
            else:
                connection.run(transaction)
            return True
        connection.rest(house.delivery.idle_timeout)
        (self.connections if waiting is self._waiting else self._behind.serves[connection]).idle.append(connection)
        if waiting.first(new=new) is None:
            house.budget.rests(connection)  # otherwise it is kept for what may not begin yet
        return False

    def _rule_for(self, transaction: Transaction, line: Line, table: RuleTable) -> Rule | None:
        """The rule that decides about the transaction on that line."""
        if not len(table):
            return None
        queue = self._queue
        return table.match(queue.pool, line.mta, queue.domain, transaction.labels, line.ip, line.host)

    def _fetched(self, connection: Connection, transaction: Transaction, content: bytes | None, failed: bool) -> None:
        if content is None:
            why = "the content could not be read" if failed else "the content is gone"
            self._settling.transaction(transaction, returned(why) if failed else of_trouble(broken(Phase.BODY, why)))
            self.rested(connection)
            return
        transaction.content = content
        if not connection.usable or not self._house.rules.may_begin():
            self._waiting_for(connection).put_back(transaction)
            self.rested(connection)
            return
        table = self._house.rules.table
        rule = self._rule_for(transaction, connection.line, table)
        if rule is not None:
            self._settling.force(transaction, rule, table, Stage.ATTEMPT, connection.line)
            self.rested(connection)
            return
        connection.run(transaction)

    def _clear(self) -> list[Transaction]:
        self._opening.stop()
        self._behind.stop()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        return [
            transaction for waiting in (self._waiting, *self._behind.waiting()) for transaction in waiting.take_all()
        ]

    def _tell_room(self, force: bool = False) -> None:
        if (self._tell or force) and not self._house.draining and self._slow_until <= self._house.loop.time():
            depth = max(LEAST_ROOM, ROOM_PER_CONNECTION * len(self.connections))
            if self._waiting.deliveries <= depth >> 1:
                self._tell = False
                self._house.settle.room_for(self._queue)

    def _pump_in(self, seconds: float) -> None:
        if self._timer is None:
            self._timer = self._house.loop.call_later(max(seconds, 0.001), self._pump_now)

    def _pump_now(self) -> None:
        self._timer = None
        self.pump()
