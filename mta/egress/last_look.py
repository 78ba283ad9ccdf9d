"""The last look before a final dot: the rule table and the permit decide whether it is sent, held or never sent."""

from mta.egress.connection import Connection
from mta.egress.permit_counts import BEFORE_DOT, PermitCounts
from mta.egress.rule_match import UNDECIDED, rules_for
from mta.egress.second_look import SecondLook
from mta.egress.transaction import Transaction
from mta.egress.transaction_end import TransactionEnd
from mta.model.outcomes import ReturnReason
from mta.model.rules import InFlight
from mta.ports.rules import Rules


class LastLook:
    """Fulfils `connection.DotChecks` for all connections of a worker."""

    def __init__(
        self, rules: Rules, end: TransactionEnd, permits: PermitCounts, second_look: SecondLook, longest_hold: float
    ) -> None:
        """A dot waits for a permit for `longest_hold` seconds."""
        self._rules = rules
        self._end = end
        self._permits = permits
        self._longest_hold = longest_hold
        self.dot_written = second_look.dot_written

    def before_dot(self, connection: Connection, transaction: Transaction) -> None:
        rules = self._rules
        table = rules.table
        decided = UNDECIDED if table.is_empty else rules_for(table, transaction, connection.peer)
        # A transaction that `past_dot` of the rule does not list may not hand over its dot.
        if decided and any(
            rule.in_flight is InFlight.ABORT or not transaction.is_listed(rule.id) for rule, _ in decided
        ):
            connection.abandon()
            self._end.end_by_rules(transaction, decided, table, connection.peer)
        elif rules.may_send_dot():
            connection.proceed()
        else:
            self._permits.stopped(transaction, BEFORE_DOT)
            connection.hold(self._longest_hold)

    def held_too_long(self, connection: Connection, transaction: Transaction) -> None:
        connection.abandon()
        self._permits.aborts += 1
        self._end.return_unattempted([transaction], ReturnReason.NO_PERMIT)
