"""The end of a transaction: each of its deliveries is settled, with the server's replies or with a decision of ours."""

import asyncio
from collections.abc import Collection, Sequence

import msgspec

from mta.egress.connection import Connection
from mta.egress.connection_budget import PATIENCE
from mta.egress.dial import ReadyConnection
from mta.egress.outcomes import canceled, of_replies, of_rule, of_trouble, returned
from mta.egress.transaction import Transaction
from mta.egress.waiting import Waiting
from mta.model.ids import DeliveryId, MessageId
from mta.model.mail import Claimed
from mta.model.outcomes import Outcome, ReturnReason, Stage
from mta.model.phases import Phase
from mta.model.rules import Rule
from mta.policy.failures import Trouble, broken
from mta.policy.retry import has_expired
from mta.policy.rule_table import RuleTable
from mta.ports.delivery import Settle

_NO_NEW = broken(Phase.CONNECT, f"no further connection to the host in {PATIENCE:g} s")


class TransactionEnd:
    """Settles deliveries for all outlets of a worker."""

    def __init__(self, settle: Settle, loop: asyncio.AbstractEventLoop) -> None:
        self._settle = settle
        self._loop = loop

    def outcomes(self, connection: Connection, transaction: Transaction, trouble: Trouble | None) -> list[Outcome]:
        """The outcome of each delivery, in order, by the replies to the transaction or by the trouble."""
        return of_replies(transaction, connection.machine, connection.peer, trouble, self._duration_ms(transaction))

    def with_outcomes(
        self, transaction: Transaction, outcomes: Sequence[Outcome], but: Collection[DeliveryId] = ()
    ) -> None:
        """Each delivery with its own outcome; the deliveries in `but` go on."""
        settle = self._settle.settle
        for claimed, outcome in zip(transaction.claims, outcomes, strict=True):
            if not but or claimed.id not in but:
                settle(claimed, outcome)

    def with_outcome(self, transaction: Transaction, outcome: Outcome) -> None:
        """One outcome for all its deliveries; rules that have listed it wait for that."""
        self.claims(transaction.claims, _with_past_dot(outcome, transaction))

    def claims(self, claims: Sequence[Claimed], outcome: Outcome) -> None:
        """Deliveries that are no transaction yet."""
        settle = self._settle.settle
        for claimed in claims:
            settle(claimed, outcome)

    # Decisions of ours

    def by_rule(
        self, transaction: Transaction, rule: Rule, table: RuleTable, stage: Stage, peer: ReadyConnection | None
    ) -> None:
        """The rule of that table has matched it; a peer is given where there is a connection."""
        outcome = of_rule(rule, table.head.generation, stage, peer, self._duration_ms(transaction))
        self.with_outcome(transaction, outcome)

    def canceled(self, transaction: Transaction, peer: ReadyConnection | None = None) -> None:
        """Its message was canceled; a peer is given where MAIL was written."""
        self.with_outcome(transaction, canceled(peer, 0 if peer is None else self._duration_ms(transaction)))

    def returned(self, transactions: Sequence[Transaction], reason: ReturnReason) -> None:
        """They go back to their queue, not attempted."""
        outcome = returned(reason)
        for transaction in transactions:
            self.with_outcome(transaction, outcome)

    def expired(self, waiting: Waiting, now: int) -> None:
        """End the deliveries in `waiting` whose time is over at `now` (Unix ms)."""
        for transaction in waiting.take_expired(now):
            if transaction.refused:
                self.refused_before(transaction)
            elif transaction.past_dot_of:
                self.returned([transaction], ReturnReason.OVERDUE)
            else:
                for claimed in transaction.claims:
                    if has_expired(claimed.record, now):
                        self._settle.expire(claimed)
                waiting.add([claimed for claimed in transaction.claims if not has_expired(claimed.record, now)])

    # Failures

    def share_failure(self, claims: Sequence[Claimed], trouble: Trouble) -> list[Claimed]:
        """The last failure to reach a host is that of `claims` too. Left are those that a server which does not speak
        the protocol has met already: each of its attempts must be a connection of its own, so it waits for one."""
        left: list[Claimed] = []
        shares: list[Claimed] = []
        for claimed in claims:
            (left if trouble.unintelligible and claimed.record.unintelligible else shares).append(claimed)
        self.claims(shares, of_trouble(trouble.shared))
        return left

    def unreachable(self, transactions: Sequence[Transaction], trouble: Trouble, message: MessageId | None) -> None:
        """No host could be reached, by a connection that was to be opened for `message`."""
        own, shared = of_trouble(trouble), of_trouble(trouble.shared)
        for transaction in transactions:
            self.with_outcome(transaction, own if transaction.message == message else shared)

    def no_new_connection(self, waiting: Waiting, now: float, trouble: Trouble | None = None) -> None:
        """End transactions that only a new connection may carry: with the trouble of opening one, or after waiting for
        too long. `now` is the loop's time."""
        taken = waiting.take_anew(now if trouble is not None else now - PATIENCE)
        for transaction in taken:
            self.with_outcome(transaction, of_trouble((trouble or _NO_NEW).shared))

    def refused_before(self, transaction: Transaction) -> None:
        """No next host has answered: the outcome is the one of the host before."""
        for claimed, outcome in zip(transaction.claims, transaction.refused, strict=True):
            self._settle.settle(claimed, _with_past_dot(outcome, transaction))

    def unsupported(self, transaction: Transaction, trouble: Trouble, peer: ReadyConnection) -> None:
        """The host cannot be given the message; where a host before could, that one's answer counts."""
        if transaction.refused:
            self.refused_before(transaction)
        else:
            self.with_outcome(transaction, of_trouble(trouble, peer))

    def no_content(self, transaction: Transaction, failed: bool) -> None:
        """Its content could not be read; `failed`: because the store could not be asked, else there is none."""
        if failed:
            self.returned([transaction], ReturnReason.CONTENT_UNREAD)
        else:
            self.with_outcome(transaction, of_trouble(broken(Phase.BODY, "the content is gone")))

    def _duration_ms(self, transaction: Transaction) -> int:
        """Since its MAIL; 0 = there was none."""
        return int((self._loop.time() - transaction.begun_at) * 1000) if transaction.begun_at else 0


def _with_past_dot(outcome: Outcome, transaction: Transaction) -> Outcome:
    if not transaction.past_dot_of:
        return outcome
    return msgspec.structs.replace(outcome, past_dot_of=transaction.past_dot_of)
