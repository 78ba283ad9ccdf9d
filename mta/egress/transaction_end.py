"""Transactions that end without a host's reply: one outcome for all deliveries of a transaction, or each its own."""

from collections.abc import Sequence

import msgspec

from mta.egress.connection import Connection
from mta.egress.connection_budget import PATIENCE
from mta.egress.dial import Line
from mta.egress.house import House
from mta.egress.transaction import Transaction, of_rule, of_trouble, returned
from mta.egress.waiting import Waiting
from mta.model.ids import MessageId
from mta.model.mail import Claimed
from mta.model.outcomes import Outcome, Reply, Stage
from mta.model.phases import Phase
from mta.model.rules import Rule
from mta.policy.failures import Trouble, broken
from mta.policy.retry import has_expired
from mta.policy.rule_table import RuleTable

MOST_RESTARTS = 20  # of one transaction
_BAD_SEQUENCE = 503
_NO_NEW = broken(Phase.CONNECT, f"no further connection to the host in {PATIENCE:g} s")


class Settling:
    """What an outlet settles itself."""

    def __init__(self, house: House) -> None:
        self._house = house

    def all(self, claims: Sequence[Claimed], outcome: Outcome) -> None:
        settle = self._house.settle.settle
        for claimed in claims:
            settle(claimed, outcome)

    def transaction(self, transaction: Transaction, outcome: Outcome) -> None:
        """One outcome for all its deliveries; rules that have listed it wait for that."""
        self.all(transaction.claims, _with_past_dot(outcome, transaction))

    def sharing(self, claims: Sequence[Claimed], trouble: Trouble) -> list[Claimed]:
        """The last failure to reach a host is that of `claims` too. Left are those that a server which does not speak
        the protocol has met already: each of its attempts must be a connection of its own, so it waits for one."""
        left: list[Claimed] = []
        shares: list[Claimed] = []
        for claimed in claims:
            (left if trouble.unintelligible and claimed.record.unintelligible else shares).append(claimed)
        self.all(shares, of_trouble(trouble.shared))
        return left

    def unreachable(self, transactions: Sequence[Transaction], trouble: Trouble, message: MessageId | None) -> None:
        """No host could be reached, by a connection that was to be opened for `message`."""
        own, shared = of_trouble(trouble), of_trouble(trouble.shared)
        for transaction in transactions:
            self.transaction(transaction, own if transaction.message == message else shared)

    def waiting(self, waiting: Waiting, outcome: Outcome) -> None:
        """One outcome for all that waits."""
        for transaction in waiting.take_all():
            self.transaction(transaction, outcome)

    def no_new(self, waiting: Waiting, now: float, trouble: Trouble | None = None) -> None:
        """End what waits for a new connection: with the trouble of opening one, or after waiting for too long."""
        taken = waiting.take_anew(now if trouble is not None else now - PATIENCE)
        for transaction in taken:
            self.transaction(transaction, of_trouble((trouble or _NO_NEW).shared))

    def force(self, transaction: Transaction, rule: Rule, table: RuleTable, stage: Stage, line: Line | None) -> None:
        self.transaction(transaction, of_rule(rule, table.head.generation, stage, line, self.ms(transaction)))

    def refused(self, transaction: Transaction) -> None:
        """No next host has answered: the outcome is what the host before had said."""
        for claimed, outcome in zip(transaction.claims, transaction.refused, strict=True):
            self._house.settle.settle(claimed, _with_past_dot(outcome, transaction))

    def unfit(self, transaction: Transaction, outcome: Outcome) -> None:
        """The host cannot be given the message; where a host before could, that one's answer counts."""
        if transaction.refused:
            self.refused(transaction)
        else:
            self.transaction(transaction, outcome)

    def expired(self, waiting: Waiting, now: int) -> None:
        """End the deliveries in `waiting` whose time is over at `now` (Unix ms)."""
        for transaction in waiting.take_expired(now):
            if transaction.refused:
                self.refused(transaction)
            elif transaction.past_dot_of:
                self.transaction(transaction, returned("its time is over"))
            else:
                for claimed in transaction.claims:
                    if has_expired(claimed.record, now):
                        self._house.settle.expire(claimed)
                waiting.add([claimed for claimed in transaction.claims if not has_expired(claimed.record, now)])

    def ms(self, transaction: Transaction) -> int:
        """Since its MAIL; 0 = there was none."""
        return int((self._house.loop.time() - transaction.begun_at) * 1000) if transaction.begun_at else 0


def _with_past_dot(outcome: Outcome, transaction: Transaction) -> Outcome:
    if not transaction.past_dot_of:
        return outcome
    return msgspec.structs.replace(outcome, past_dot_of=transaction.past_dot_of)


def may_restart(connection: Connection, transaction: Transaction, trouble: Trouble | None) -> bool:
    """Whether the message begins again at once, without an attempt lost. A server may close a connection that carried
    mail before, or take no more on it: it says 421 or closes, and any connection will do; or it refuses the message,
    which says nothing yet about the message itself, so that a new connection is asked (`transaction.anew`)."""
    if transaction.dot_at:
        return False
    machine = connection.machine
    again = connection.carried > 1 and transaction.restarts < MOST_RESTARTS
    refusals = () if machine.goodbye is not None else machine.refusals
    if refusals:
        transaction.anew = _is_asked_again(connection, refusals) and again
        return transaction.anew
    early, data, goodbye = machine.early, machine.data, machine.goodbye
    lost = trouble is not None and (early is None or early is goodbye) and (data is None or data is goodbye)
    return again and lost


def _is_asked_again(connection: Connection, refusals: Sequence[Reply]) -> bool:
    """A bad sequence (503) is the connection's. Else once for each connection, of what is no 5xx to the recipients or
    to DATA: a host that refuses the next one too means the mail."""
    if any(reply.code == _BAD_SEQUENCE for reply in refusals):
        return True
    if refusals[0] is not connection.machine.mail and any(reply.code >= 500 for reply in refusals):
        return False
    before, connection.refuses = connection.refuses, True
    return not before
