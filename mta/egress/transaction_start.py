"""The start of transactions: chooses the next one for a free connection, and checks rules, expiry and limits."""

import asyncio
from collections.abc import Callable, Collection
from typing import Protocol

from mta.egress.connection import Connection
from mta.egress.connection_budget import ConnectionBudget
from mta.egress.content_fetch import ContentFetches
from mta.egress.egress_ports import EgressPorts
from mta.egress.peer_support import unsupported_by
from mta.egress.permit_counts import BEFORE_MAIL, PermitCounts
from mta.egress.rule_match import UNDECIDED, rules_for
from mta.egress.shutdown import Shutdown
from mta.egress.transaction import Transaction
from mta.egress.transaction_end import TransactionEnd
from mta.model.mail import QueueKey
from mta.model.outcomes import Stage
from mta.model.settings import DeliverySettings
from mta.policy.shaping import Plan
from mta.timing.clock import wall_ms


class StartOwner(Protocol):
    """The outlet, as the start of its transactions sees it."""

    def pump(self) -> None:
        """The message rate allows more: start waiting transactions."""
        ...

    def connection_free(self, connection: Connection) -> None:
        """The transaction for this connection did not start, so the connection is free."""
        ...

    def unused(self, connection: Connection) -> bool:
        """No transaction waits for the connection. True: another outlet has taken it."""
        ...


class TransactionStart:
    """Starts the transactions of one outlet."""

    def __init__(
        self,
        queue: QueueKey,
        plan: Plan,
        ports: EgressPorts,
        delivery: DeliverySettings,
        loop: asyncio.AbstractEventLoop,
        end: TransactionEnd,
        permits: PermitCounts,
        budget: ConnectionBudget,
        shutdown: Shutdown,
        owner: StartOwner,
    ) -> None:
        self._queue = queue
        self._paced = plan.limits_messages
        self._rules = ports.rules
        self._limits = ports.limits
        self._warm_ups = ports.warm_ups
        self._idle_timeout = delivery.idle_timeout
        self._command_timeout = delivery.command_timeout
        self._loop = loop
        self._end = end
        self._permits = permits
        self._budget = budget
        self._shutdown = shutdown
        self._owner = owner
        self._fetches = ContentFetches(ports.content, loop, self._fetched)
        self._slow_until = 0.0  # loop time until which the message rate allows nothing
        self._timer: asyncio.TimerHandle | None = None

    @property
    def quiet(self) -> bool:
        """Whether no content is being fetched and no timer runs."""
        return not (self._fetches or self._timer)

    def dropped(self) -> None:
        """It is quiet, and is used no more."""
        del self._fetches

    @property
    def slowed(self) -> bool:
        """Whether the message rate allows nothing now."""
        return self._slow_until > self._loop.time()

    def start_next(self, connection: Connection) -> bool:
        """Start the next transaction on this connection. False: none may start, and the connection is idle."""
        waiting, new = connection.waiting, not connection.carried
        transaction = waiting.first(new)
        if transaction is None:
            self.rest(connection)
            return False
        now = wall_ms()
        while transaction is not None and not self._shutdown.begun:
            table = self._rules.table
            decided = UNDECIDED if table.is_empty else rules_for(table, transaction, connection.peer)
            if decided:
                waiting.pop(transaction)
                if self._end.settle_by_rules(transaction, decided, table, Stage.ATTEMPT, connection.peer):
                    waiting.put_back(transaction)
            elif transaction.begins_before <= now:
                self._end.end_expired(waiting, now)
            elif not self._rules.may_send_mail():
                self._permits.stopped(transaction, BEFORE_MAIL)
                break
            elif (trouble := unsupported_by(connection.peer, transaction)) is not None:
                self._end.settle_unsupported(waiting.pop(transaction), trouble, connection.peer)
            elif self._paced and (wait := self._limits.take_message(connection.slot.path)) > 0:
                self._wait_for_rate(wait)
                break
            elif connection.slot.warms and self._warm_ups is not None and not self._warm_ups.take(connection.slot.path):
                connection.close()  # another IP carries the mail, or it waits for the next day
                return False
            else:
                waiting.pop(transaction)
                if transaction.content is not None:
                    connection.run(transaction)
                else:
                    connection.expire_in(self._command_timeout)
                    self._fetches.start(connection, transaction)
                return True
            transaction = waiting.first(new)
        if transaction is None:
            self.rest(connection)
        else:  # the connection stays for the transaction, which must wait
            connection.deadline = self._loop.time() + self._idle_timeout
            connection.idle.append(connection)
        return False

    def rest(self, connection: Connection) -> None:
        """No transaction waits for this connection: it is idle, unless others get it."""
        connection.deadline = self._loop.time() + self._idle_timeout
        if not self._owner.unused(connection):
            connection.idle.append(connection)
            self._budget.mark_idle(connection)

    def is_reserved(self, connection: Connection) -> bool:
        """Whether this connection waits for the content of its next transaction."""
        return self._fetches.is_reserved(connection)

    def stop(self, wanted: Callable[[Transaction], bool]) -> Collection[tuple[Connection, Transaction]]:
        """Stop fetching the content of the transactions for which `wanted` is true. Returns them with their
        connections."""
        return self._fetches.stop(wanted)

    def stop_waiting(self) -> None:
        """Stop the timer that waits for the message rate."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _fetched(self, connection: Connection, transaction: Transaction, content: bytes | None, failed: bool) -> None:
        if content is None:
            self._end.settle_without_content(transaction, failed)
            self._owner.connection_free(connection)
            return
        transaction.content = content
        may_begin = self._rules.may_send_mail() and transaction.begins_before > wall_ms()
        if not connection.usable or not may_begin:
            connection.waiting.put_back(transaction)
            self._owner.connection_free(connection)
            return
        table = self._rules.table
        decided = UNDECIDED if table.is_empty else rules_for(table, transaction, connection.peer)
        if decided:
            if self._end.settle_by_rules(transaction, decided, table, Stage.ATTEMPT, connection.peer):
                connection.waiting.put_back(transaction)
            self._owner.connection_free(connection)
            return
        if (trouble := unsupported_by(connection.peer, transaction)) is not None:
            self._end.settle_unsupported(transaction, trouble, connection.peer)
            self._owner.connection_free(connection)
            return
        connection.run(transaction)

    def _wait_for_rate(self, seconds: float) -> None:
        self._slow_until = self._loop.time() + seconds
        if self._timer is None:
            self._timer = self._loop.call_later(max(seconds, 0.001), self._rate_allows)

    def _rate_allows(self) -> None:
        self._timer = None
        self._owner.pump()
