"""The outlet of one queue: its transactions that wait, the connections that carry them, and when to open another."""

import asyncio
from collections import deque
from collections.abc import Collection, Sequence

import msgspec

from mta.egress.connection import Connection
from mta.egress.dial import Line
from mta.egress.fitness import NOT_PLAIN, is_plain, misfit
from mta.egress.house import House
from mta.egress.opening import Opening
from mta.egress.transaction import Transaction, canceled, of_rule, of_trouble, results, returned
from mta.egress.waiting import Waiting
from mta.model.errors import StoreError
from mta.model.ids import MessageId
from mta.model.mail import Claimed, QueueKey
from mta.model.outcomes import Outcome, Stage
from mta.model.phases import Phase
from mta.model.rules import InFlight, PastDot, Rule
from mta.model.settings import DomainSettings
from mta.policy.failures import Trouble, broken
from mta.policy.rule_table import RuleTable

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
        self._idle: deque[Connection] = deque()
        self.connections: set[Connection] = set()
        self._opening = Opening(house, queue, self._domain, self)
        self._fetching: dict[asyncio.Task[bytes | None], tuple[Connection, Transaction]] = {}
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
        return max(0, depth - self._waiting.deliveries)

    def may_begin(self) -> bool:
        return len(self._waiting) < len(self._idle) + self._opening.spare

    def take(self, deliveries: Sequence[Claimed]) -> None:
        trouble = self._opening.trouble()
        if trouble is not None:
            self._settle_all(deliveries, of_trouble(trouble))
            return
        if len(plain := [claimed for claimed in deliveries if is_plain(claimed.record)]) < len(deliveries):
            self._settle_all([one for one in deliveries if not is_plain(one.record)], of_trouble(NOT_PLAIN))
        self._waiting.add(plain)
        self._start()

    def pump(self) -> None:
        """Put waiting transactions on idle connections, and open another connection where that is due."""
        self._start()
        self._tell_room()

    @property
    def empty(self) -> bool:
        return not (self._waiting or self.connections or self._fetching or self._timer) and self._opening.quiet

    @property
    def busy(self) -> bool:
        """Whether a transaction is running."""
        return any(connection.transaction is not None for connection in self.connections)

    def tick(self, now: float) -> None:
        for connection in list(self.connections):
            connection.expire(now)
        self.pump()
        self._opening.tick(now)

    def on_change(self, table: RuleTable, fresh: Sequence[Rule]) -> list[PastDot]:
        """End what matches and has not handed over its dot; but what has begun goes on where every rule that it meets
        lets it finish. List what goes on, under each of the `fresh` rules."""
        queue = self._queue
        past: list[PastDot] = []
        for connection in list(self.connections):
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
                self._force(transaction, rule, table, Stage.BEFORE_DOT, line)
        mta = queue.pool[1:] if queue.pool.startswith("@") else ""  # of a larger pool it is not known before MAIL
        for transaction in self._waiting.take_all():
            rule = table.match(queue.pool, mta, queue.domain, transaction.labels)
            if rule is None:
                self._waiting.put_last(transaction)
            else:
                self._force(transaction, rule, table, Stage.ATTEMPT, None)
        return past

    def on_cancel(self, messages: Collection[MessageId]) -> None:
        """End what is of these messages and has not handed over its dot, as canceled."""
        for transaction in self._waiting.take_all():
            if transaction.message in messages:
                self._settle(transaction, canceled(None, 0))
            else:
                self._waiting.put_last(transaction)
        for connection in list(self.connections):
            running = connection.transaction
            if running is not None and not running.dot_at and running.message in messages:
                connection.give_up()
                self._settle(running, canceled(connection.line, self._ms(running)))
        for task, (connection, transaction) in list(self._fetching.items()):
            if transaction.message in messages:
                del self._fetching[task]
                task.cancel()
                self._settle(transaction, canceled(None, 0))
                self.rested(connection)

    def give_back(self, why: str) -> None:
        """Return what was not begun, stop opening, close what is idle; what runs goes on."""
        ready = self._clear()
        outcome = returned(why)
        for transaction in ready:
            self._settle(transaction, outcome)
        for connection in list(self.connections):
            if connection.transaction is None and not self._reserved(connection):
                connection.close()

    def drop(self, why: str | None) -> None:
        """Give up all that has not handed over its dot. `why` None: the claims are others' now, nothing is settled."""
        gone = self._clear()
        for task, (connection, transaction) in list(self._fetching.items()):
            task.cancel()
            connection.abort()
            gone.append(transaction)
        self._fetching.clear()
        for connection in list(self.connections):
            running = connection.transaction
            if running is not None and not running.dot_at:
                connection.give_up()
                gone.append(running)
        if why is not None:
            for transaction in gone:
                self._settle(transaction, returned(why))
            return
        # The slots of these connections were given to others with the session.
        for connection in list(self.connections):
            connection.retired = True
            if connection.transaction is None:
                connection.close()

    def abort(self) -> None:
        """Close every connection at once; a transaction past its dot ends as uncertain."""
        for connection in list(self.connections):
            connection.abort()

    def retire_one(self) -> None:
        """Let go of a connection, for another queue: an idle one, else one after its transaction."""
        for connection in self.connections:
            if connection.transaction is None and connection.usable and not self._reserved(connection):
                connection.close()
                return
        for connection in self.connections:
            if connection.usable:
                connection.retired = True
                return

    # What connections ask (connection.Owner)

    def look(self, connection: Connection, transaction: Transaction) -> None:
        rules = self._house.rules
        table = rules.table
        rule = self._rule_for(transaction, connection.line, table)
        # Only what is on the rule's list may still hand over its dot.
        if rule is not None and (rule.in_flight is InFlight.ABORT or rule.id not in transaction.past_dot_of):
            connection.give_up()
            self._force(transaction, rule, table, Stage.BEFORE_DOT, connection.line)
        elif rules.may_dot():
            connection.go_on()
        else:
            self._house.no_permit(transaction, "dot")
            connection.hold(self._house.delivery.dot_hold)

    def look_again(self) -> None:
        """A permit came: dots that waited for it go on."""
        for connection in list(self.connections):
            if connection.held and connection.transaction is not None:
                self.look(connection, connection.transaction)
        self.pump()

    def dot_written(self, connection: Connection, transaction: Transaction) -> None:
        self._house.second_look(connection, transaction)

    def held_too_long(self, connection: Connection, transaction: Transaction) -> None:
        connection.give_up()
        self._house.permit_aborts += 1
        self._settle(transaction, returned("no permit of the rule table for too long"))

    def ended(self, connection: Connection, transaction: Transaction, trouble: Trouble | None) -> None:
        if trouble is not None and self._may_restart(connection, transaction):
            transaction.restarted = True
            transaction.dot_at = 0
            self._waiting.put_back(transaction)
        else:
            outcomes = results(transaction, connection.machine, connection.line, trouble, self._ms(transaction))
            settle = self._house.settle.settle
            for claimed, outcome in zip(transaction.claims, outcomes, strict=True):
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
        self._next(connection)
        if self._tell and self._waiting.deliveries <= (ROOM_PER_CONNECTION * len(self.connections)) >> 1:
            self._tell_room()

    def lost(self, connection: Connection) -> None:
        self.connections.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        self._house.limits.give_connection(self._queue)
        self._house.release(connection)
        self._tell = True
        self.pump()

    def __repr__(self) -> str:
        return (
            f"<Outlet {self._queue.pool}/{self._queue.domain} waiting={self._waiting.deliveries} "
            f"connections={len(self.connections)} idle={len(self._idle)} {self._opening!r}>"
        )

    # What the opening of connections asks (opening.Owner)

    @property
    def usable(self) -> int:
        return sum(connection.usable for connection in self.connections)

    @property
    def unserved(self) -> int:
        return 0 if self._idle else len(self._waiting)

    def connected(self, line: Line) -> None:
        connection = Connection(self, line, self._house.delivery, self._house.loop)
        self.connections.add(connection)
        self.rested(connection)
        self._tell = True

    def unreachable(self, trouble: Trouble) -> None:
        outcome = of_trouble(trouble)
        for transaction in self._waiting.take_all():
            self._settle(transaction, outcome)

    def crowded_out(self) -> None:
        outcome = returned("other processes hold every connection to this domain")
        for transaction in self._waiting.take_all():
            self._settle(transaction, outcome)

    def may_have_room(self) -> None:
        self._tell_room(force=True)

    # Transactions

    def _start(self) -> None:
        idle = self._idle
        while self._waiting and idle:
            connection = self._house.works_again(idle.popleft())
            if connection.usable and not self._next(connection):
                break
        self._opening.more()

    def _next(self, connection: Connection) -> bool:
        """The next transaction on this connection; False: none may begin, it is idle now."""
        house, waiting, line = self._house, self._waiting, connection.line
        while (transaction := waiting.first()) is not None and not house.draining:
            table = house.rules.table
            rule = self._rule_for(transaction, line, table)
            if rule is not None:
                self._force(waiting.pop(), rule, table, Stage.ATTEMPT, line)
                continue
            if not house.rules.may_begin():
                house.no_permit(transaction, "mail")
                break
            trouble = misfit(transaction, line)
            if trouble is not None:
                self._settle(waiting.pop(), of_trouble(trouble, line))
                continue
            if (wait := house.limits.take_message(self._queue)) > 0:
                self._slow_until = house.loop.time() + wait
                self._pump_in(wait)
                break
            waiting.pop()
            if transaction.content is None:
                self._fetch(connection, transaction)
            else:
                connection.run(transaction)
            return True
        connection.rest(house.delivery.idle_timeout)
        self._idle.append(connection)
        house.rests(connection, bool(waiting))
        return False

    def _rule_for(self, transaction: Transaction, line: Line, table: RuleTable) -> Rule | None:
        """The rule that decides about the transaction on that line."""
        if not len(table):
            return None
        queue = self._queue
        return table.match(queue.pool, line.mta, queue.domain, transaction.labels, line.ip, line.host)

    def _may_restart(self, connection: Connection, transaction: Transaction) -> bool:
        """A connection that was used before may be closed by the server just when we begin: that is no attempt."""
        machine = connection.machine
        untouched = machine.progress == 0 or (machine.goodbye is not None and machine.goodbye is machine.mail)
        return connection.carried > 1 and untouched and not transaction.restarted and not transaction.dot_at

    def _fetch(self, connection: Connection, transaction: Transaction) -> None:
        connection.rest(self._house.delivery.command_timeout)
        task = self._house.loop.create_task(self._content(transaction))
        self._fetching[task] = connection, transaction
        task.add_done_callback(self._fetched)

    async def _content(self, transaction: Transaction) -> bytes | None:
        return await self._house.content.get(transaction.message, transaction.claims[0].record)

    def _fetched(self, task: asyncio.Task[bytes | None]) -> None:
        found = self._fetching.pop(task, None)
        if found is None or task.cancelled():
            return
        connection, transaction = found
        error = task.exception()
        if error is not None and not isinstance(error, StoreError):
            self._settle(transaction, returned("the content could not be read"))
            connection.close()
            raise error
        content = None if error is not None else task.result()
        if content is None:
            why = "the content could not be read" if error is not None else "the content is gone"
            self._settle(transaction, returned(why) if error else of_trouble(broken(Phase.BODY, why)))
            self.rested(connection)
            return
        transaction.content = content
        if not connection.usable or not self._house.rules.may_begin():
            self._waiting.put_back(transaction)
            self.rested(connection)
            return
        table = self._house.rules.table
        rule = self._rule_for(transaction, connection.line, table)
        if rule is not None:
            self._force(transaction, rule, table, Stage.ATTEMPT, connection.line)
            self.rested(connection)
            return
        connection.run(transaction)

    def _reserved(self, connection: Connection) -> bool:
        return any(other is connection for other, _ in self._fetching.values())

    def _force(self, transaction: Transaction, rule: Rule, table: RuleTable, stage: Stage, line: Line | None) -> None:
        self._settle(transaction, of_rule(rule, table.head.generation, stage, line, self._ms(transaction)))

    def _ms(self, transaction: Transaction) -> int:
        """Since its MAIL; 0 = there was none."""
        return int((self._house.loop.time() - transaction.begun_at) * 1000) if transaction.begun_at else 0

    def _settle(self, transaction: Transaction, outcome: Outcome) -> None:
        """One outcome for all its deliveries; rules that have listed it wait for that."""
        if transaction.past_dot_of:
            outcome = msgspec.structs.replace(outcome, past_dot_of=transaction.past_dot_of)
        self._settle_all(transaction.claims, outcome)

    def _settle_all(self, claims: Sequence[Claimed], outcome: Outcome) -> None:
        settle = self._house.settle.settle
        for claimed in claims:
            settle(claimed, outcome)

    def _clear(self) -> list[Transaction]:
        self._opening.stop()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        return self._waiting.take_all()

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
