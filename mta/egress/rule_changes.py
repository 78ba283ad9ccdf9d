"""The effect of a new rule table, or of cancellations, on the transactions of one outlet."""

from collections.abc import Callable, Iterable, Sequence

from mta.egress.connection import Connection
from mta.egress.connections import Connections
from mta.egress.rule_match import matched_by, rules_for, rules_for_waiting
from mta.egress.transaction import Transaction
from mta.egress.transaction_end import TransactionEnd
from mta.egress.waiting import Waiting
from mta.model.cancel_orders import CancelOrders
from mta.model.outcomes import Stage
from mta.model.rules import InFlight, PastDot, Rule
from mta.policy.rule_table import RuleTable


class RuleChanges:
    """Its calls are synchronous. After a call, no transaction that must end can hand over its dot."""

    def __init__(self, connections: Connections, waiting: Callable[[], Iterable[Waiting]], end: TransactionEnd) -> None:
        """`waiting` returns the lists of waiting transactions, one for each list of hosts."""
        self._connections = connections
        self._waiting = waiting
        self._end = end

    def table_swapped(self, table: RuleTable, fresh: Sequence[Rule]) -> list[PastDot]:
        """End the transactions that match and have not handed over their dot. A transaction that has begun goes on if
        each rule that matches it says `finish`. Returns those that go on, for each of the `fresh` rules."""
        past: list[PastDot] = []
        for connection in list(self._connections.all):
            transaction = connection.transaction
            if transaction is not None:
                past += self._running(connection, transaction, table, fresh)
        for waiting in self._waiting():
            for transaction in waiting.take_all():
                decided = rules_for_waiting(table, transaction)
                if not decided or self._end.settle_by_rules(transaction, decided, table, Stage.ATTEMPT, None):
                    waiting.put_last(transaction)
        return past

    def canceled(self, orders: CancelOrders) -> None:
        """End the canceled deliveries that have not handed over their dot, and with them the transactions that have
        begun."""
        for waiting in self._waiting():
            for transaction in waiting.take_all():
                if not transaction.is_met_by(orders) or self._end.settle_canceled(transaction, orders):
                    waiting.put_last(transaction)
        for connection in list(self._connections.all):
            running = connection.transaction
            if running is not None and not running.dot_at and running.is_met_by(orders):
                connection.abandon()
                self._end.end_canceled(running, orders, connection.peer)

    def _running(
        self, connection: Connection, transaction: Transaction, table: RuleTable, fresh: Sequence[Rule]
    ) -> list[PastDot]:
        """The `past_dot` entries of a transaction that goes on."""
        peer = connection.peer
        decided = rules_for(table, transaction, peer)
        if not decided:
            return []
        met = [(known, claims) for known in fresh if (claims := matched_by(table, known, transaction, peer))]
        past: list[PastDot] = []
        if transaction.dot_at or all(known.in_flight is InFlight.FINISH for known, _ in (*decided, *met)):
            for known, claims in met:
                past += transaction.listed(known.order_id, claims)
        else:
            connection.abandon()
            self._end.end_by_rules(transaction, decided, table, peer)
        return past
