"""The end of a transaction: settles each delivery by the server's replies or by a decision of this process."""

import asyncio
from collections.abc import Collection, Sequence

import msgspec

from mta.egress.connection import Connection
from mta.egress.connection_budget import PATIENCE
from mta.egress.dial import ReadyConnection
from mta.egress.outcomes import canceled, of_replies, of_rule, of_trouble, returned
from mta.egress.reply_knowledge import ReplyKnowledge
from mta.egress.rule_match import Decided
from mta.egress.transaction import Transaction
from mta.egress.waiting import Waiting
from mta.model.cancel_orders import CancelOrders, canceled_by
from mta.model.ids import DeliveryId, MessageId
from mta.model.mail import Claimed
from mta.model.outcomes import Outcome, ReturnReason, Stage
from mta.model.phases import Phase
from mta.policy.failures import Trouble, broken
from mta.policy.retry import has_expired
from mta.policy.rule_table import RuleTable
from mta.policy.sending_window import is_closed
from mta.ports.delivery import Settle

_NO_NEW = broken(Phase.CONNECT, f"no further connection to the host in {PATIENCE:g} s")


class TransactionEnd:
    """Settles deliveries for all outlets of a worker."""

    def __init__(self, settle: Settle, loop: asyncio.AbstractEventLoop, replies: ReplyKnowledge) -> None:
        self._settle = settle
        self._loop = loop
        self._replies = replies

    def outcomes(self, connection: Connection, transaction: Transaction, trouble: Trouble | None) -> list[Outcome]:
        """The outcome of each delivery, in order, by the server's replies or by the trouble that ended the
        transaction."""
        ms = self._duration_ms(transaction)
        return of_replies(transaction, connection.machine, connection.peer, trouble, ms, self._replies)

    def settle_each(
        self, transaction: Transaction, outcomes: Sequence[Outcome], except_for: Collection[DeliveryId] = ()
    ) -> None:
        """Settle each delivery with its own outcome, but not the deliveries in `except_for`, which another host
        gets."""
        settle, some = self._settle.settle, transaction.past_dot_of_some
        for claimed, outcome in zip(transaction.claims, outcomes, strict=True):
            if not except_for or claimed.id not in except_for:
                settle(claimed, outcome if not some else _also_listed(outcome, transaction, claimed))

    def settle_all(self, transaction: Transaction, outcome: Outcome) -> None:
        """Settle all deliveries of the transaction with one outcome. It names the rules whose `past_dot` lists them."""
        self._settle_some(transaction, transaction.claims, outcome)

    def settle_claims(self, claims: Sequence[Claimed], outcome: Outcome) -> None:
        """Settle deliveries that are in no transaction yet."""
        settle = self._settle.settle
        for claimed in claims:
            settle(claimed, outcome)

    # Decisions of this process

    def settle_by_rules(
        self, transaction: Transaction, decided: Decided, table: RuleTable, stage: Stage, peer: ReadyConnection | None
    ) -> bool:
        """Settle the deliveries that rules of `table` decide about, and take them out of the transaction; whether it
        has others. `peer` is None if no connection carries the transaction."""
        for rule, claims in decided:
            outcome = of_rule(rule, table.head.generation, stage, peer, self._duration_ms(transaction))
            self._settle_some(transaction, claims, outcome)
        settled = [claimed for _, claims in decided for claimed in claims]
        return len(settled) < len(transaction.claims) and transaction.drop(settled)

    def end_by_rules(self, transaction: Transaction, decided: Decided, table: RuleTable, peer: ReadyConnection) -> None:
        """Settle a transaction that was abandoned before its dot because rules decide about some of its deliveries. The
        others return to their queue."""
        if self.settle_by_rules(transaction, decided, table, Stage.BEFORE_DOT, peer):
            self.return_unattempted([transaction], ReturnReason.OTHER_RECIPIENT)

    def settle_canceled(
        self, transaction: Transaction, orders: CancelOrders, peer: ReadyConnection | None = None
    ) -> bool:
        """Settle the deliveries that `orders` cancel, and take them out of the transaction; whether it has others.
        `peer` is None if MAIL was not written."""
        ms, settled = 0 if peer is None else self._duration_ms(transaction), []
        for claimed in transaction.claims:
            by = canceled_by(orders, claimed.id)
            if by is not None:
                settled.append(claimed)
                self._settle_some(transaction, (claimed,), canceled(peer, ms, by))
        return len(settled) < len(transaction.claims) and transaction.drop(settled)

    def end_canceled(self, transaction: Transaction, orders: CancelOrders, peer: ReadyConnection) -> None:
        """Settle a transaction that was abandoned before its dot because some of its deliveries are canceled. The
        others return to their queue."""
        if self.settle_canceled(transaction, orders, peer):
            self.return_unattempted([transaction], ReturnReason.OTHER_RECIPIENT)

    def return_unattempted(self, transactions: Sequence[Transaction], reason: ReturnReason) -> None:
        """Return the deliveries to their queue; they count no attempt."""
        outcome = returned(reason)
        for transaction in transactions:
            self.settle_all(transaction, outcome)

    def end_expired(self, waiting: Waiting, now: int) -> None:
        """End the deliveries in `waiting` that have expired at `now` (Unix ms), and return those whose window is closed
        then."""
        for transaction in waiting.take_expired(now):
            if transaction.refused:
                self.settle_with_last_refusal(transaction)
            elif transaction.past_dot_of or transaction.past_dot_of_some:
                self.return_unattempted([transaction], ReturnReason.OVERDUE)
            else:
                left: list[Claimed] = []
                for claimed in transaction.claims:
                    if has_expired(claimed.record, now):
                        self._settle.expire(claimed)
                    elif is_closed(claimed.record.window, now):
                        self._settle.settle(claimed, returned(ReturnReason.WINDOW_CLOSED))
                    else:
                        left.append(claimed)
                waiting.add(left)

    # Failures

    def share_failure(self, claims: Sequence[Claimed], trouble: Trouble) -> list[Claimed]:
        """Settle `claims` with the last failure to reach a host; they count no attempt. Returns the deliveries that
        must not share it: those that count attempts at a server that does not speak SMTP need a connection of their own
        for each attempt."""
        left: list[Claimed] = []
        shares: list[Claimed] = []
        for claimed in claims:
            (left if trouble.unintelligible and claimed.record.unintelligible else shares).append(claimed)
        self.settle_claims(shares, of_trouble(trouble.shared._replace(untried=True), self._replies))
        return left

    def settle_unreachable(
        self, transactions: Sequence[Transaction], trouble: Trouble, message: MessageId | None
    ) -> None:
        """Settle with `trouble` after no host could be reached. The connection was to be opened for `message`."""
        own, shared = of_trouble(trouble, self._replies), of_trouble(trouble.shared, self._replies)
        for transaction in transactions:
            self.settle_all(transaction, own if transaction.message == message else shared)

    def end_waiting_for_new(self, waiting: Waiting, now: float, trouble: Trouble | None = None) -> None:
        """Settle transactions that need a new connection: with the trouble of opening one; without trouble, those that
        have waited for PATIENCE. `now` is the loop's time."""
        taken = waiting.take_anew(now if trouble is not None else now - PATIENCE)
        for transaction in taken:
            self.settle_all(transaction, of_trouble((trouble or _NO_NEW).shared, self._replies))

    def settle_with_last_refusal(self, transaction: Transaction) -> None:
        """Settle with the replies of the host before, because no next host has answered."""
        for claimed, outcome in zip(transaction.claims, transaction.refused, strict=True):
            self._settle_some(transaction, (claimed,), outcome)

    def settle_unsupported(self, transaction: Transaction, trouble: Trouble, peer: ReadyConnection) -> None:
        """The host does not support the message. Settle with the answer of the host before, if there is one."""
        if transaction.refused:
            self.settle_with_last_refusal(transaction)
        else:
            self.settle_all(transaction, of_trouble(trouble, self._replies, peer))

    def settle_unsendable(self, claims: Sequence[Claimed], trouble: Trouble) -> None:
        """No host may get these deliveries as they are; no connection is needed for that."""
        self.settle_claims(claims, of_trouble(trouble, self._replies))

    def settle_without_content(self, transaction: Transaction, failed: bool) -> None:
        """The content was not read. `failed`: the store gave no answer; else the store has no such content."""
        if failed:
            self.return_unattempted([transaction], ReturnReason.CONTENT_UNREAD)
        else:
            self.settle_all(transaction, of_trouble(broken(Phase.BODY, "the content is gone"), self._replies))

    def _settle_some(self, transaction: Transaction, claims: Sequence[Claimed], outcome: Outcome) -> None:
        settle, some = self._settle.settle, transaction.past_dot_of_some
        outcome = _with_past_dot(outcome, transaction)
        for claimed in claims:
            settle(claimed, outcome if not some else _also_listed(outcome, transaction, claimed))

    def _duration_ms(self, transaction: Transaction) -> int:
        """Milliseconds since MAIL; 0 = MAIL was not sent."""
        return int((self._loop.time() - transaction.begun_at) * 1000) if transaction.begun_at else 0


def _with_past_dot(outcome: Outcome, transaction: Transaction) -> Outcome:
    if not transaction.past_dot_of:
        return outcome
    return msgspec.structs.replace(outcome, past_dot_of=transaction.past_dot_of)


def _also_listed(outcome: Outcome, transaction: Transaction, claimed: Claimed) -> Outcome:
    """The outcome with the rules that list this delivery and not all of the transaction."""
    rules = transaction.past_dot_of_some.get(claimed.id)
    return msgspec.structs.replace(outcome, past_dot_of=(*outcome.past_dot_of, *rules)) if rules else outcome
