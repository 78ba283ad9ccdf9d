"""The verdict on a soak: the replies to clients and the receipts of destinations, compared with the promises.

lost          accepted with 250, and in the end neither received nor ended otherwise (bounced, intercepted, ...)
stuck         accepted, and still waiting or claimed after the drain
phantom       received or accounted although the client was told that it was refused, or had not sent it whole
late          received after `effective_at` of an order for its tag, and not in its `past_dot`
unbalanced    a statement that does not sum, or is not what a count one by one gives
unexplained   a copy beyond the first that no event allows
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from itertools import pairwise
from typing import Any, NamedTuple

from tests.races.destination import Transaction
from tests.races.ledger import Ledger
from tests.races.verdict import differences
from tests.soak.cluster import Strike
from tests.soak.load import Told
from tests.soak.log_marks import LogMarks
from tests.soak.orders import Order
from tests.soak.plan import LEASE, STORE_TIMEOUT, What

_SETTLING = 3000.0  # milliseconds from the reply to a dot until its outcome is in the store, on a busy machine
_GIVEN_UP = (LEASE + 3.0) * 1000  # milliseconds from standing still to being given up for dead
_ENDED_OTHERWISE = {"bounced", "expired", "canceled", "intercepted"}

# Faults that may take an outcome away: how long after their end it may still be on its way to be lost, milliseconds.
_TAKES_OUTCOMES = {
    What.KILL_WORKER: 0.0,
    What.KILL_SUPERVISOR: _GIVEN_UP,  # its workers drain
    What.STOP_WORKER: _GIVEN_UP,
    What.KILL_STORE: _GIVEN_UP,
    What.STOP_STORE: _GIVEN_UP,
    What.CUT: _GIVEN_UP,
    What.FLAP: STORE_TIMEOUT * 1000,
    What.STALL: _GIVEN_UP,
}


class Receipt(NamedTuple):
    """A dot that a destination read, for one recipient."""

    id: str  # of the delivery
    recipient: str
    mail_at: float
    dot_at: float
    replied_at: float  # 0.0 = the destination never answered
    node: str


class Finding(NamedTuple):
    """One promise that was broken."""

    kind: str
    text: str


class Evidence:
    """All that is known at the end; times are Unix milliseconds."""

    def __init__(
        self,
        told: list[Told],
        seen: list[Transaction],
        ledger: Ledger,
        orders: list[Order],
        statements: Mapping[str, Mapping[str, Any]],
        strikes: list[Strike],
        broken: list[str],
        marks: LogMarks,
    ) -> None:
        """`statements` by tag, fetched at rest; `broken` are the sentences of the store's checker."""
        self.told = told
        self.seen = seen
        self.ledger = ledger
        self.orders = orders
        self.statements = statements
        self.strikes = strikes
        self.broken = broken
        self.marks = marks

    @cached_property
    def by_recipient(self) -> dict[str, tuple[Told, int]]:
        """The answer about the message of each recipient, and the number of the delivery."""
        return {to: (told, n) for told in self.told for n, to in enumerate(told.recipients, 1)}

    @cached_property
    def receipts(self) -> list[Receipt]:
        found = []
        for one in self.seen:
            if one.dot_at:
                node = one.client.partition(".")[0]
                for to in one.recipients:
                    id_ = f"{one.message}.{self.by_recipient[to][1]}"
                    found.append(Receipt(id_, to, one.mail_at, one.dot_at, one.replied_at, node))
        return found

    @cached_property
    def by_delivery(self) -> dict[str, list[Receipt]]:
        """Receipts in the order of their dots."""
        found: defaultdict[str, list[Receipt]] = defaultdict(list)
        for receipt in sorted(self.receipts, key=lambda receipt: receipt.dot_at):
            found[receipt.id].append(receipt)
        return dict(found)

    @cached_property
    def accepted(self) -> dict[str, str]:
        """Delivery id -> tag, of the deliveries that were answered 250, and of those that came to exist unanswered."""
        found = {}
        exists = self.marks.received | {receipt.recipient: receipt.id for receipt in self.receipts}
        for told in self.told:
            for n, to in enumerate(told.recipients, 1):
                if told.accepted:
                    found[f"{told.message}.{n}"] = told.tag
                elif told.unknown and to in exists:
                    found[exists[to]] = told.tag
        return found

    @cached_property
    def copies(self) -> list[tuple[Receipt, str]]:
        """Each receipt that was followed by another of the same delivery, with what explains that; "" = nothing."""
        found = []
        for receipts in self.by_delivery.values():
            for receipt, following in pairwise(receipts):
                found.append((receipt, self._why_again(receipt, following)))
        return found

    def _why_again(self, receipt: Receipt, following: Receipt) -> str:
        if not receipt.replied_at:
            return "the destination did not answer its dot"
        if receipt.id in self.marks.late:
            return "its claim was lost: LateOutcome in the log"
        settled = receipt.replied_at + _SETTLING
        for strike in self.strikes:
            lasts = _TAKES_OUTCOMES.get(strike.what)
            here = strike.node in ("", receipt.node)
            if lasts is None or not here:
                continue
            if settled >= strike.begun and receipt.dot_at <= strike.ended + lasts and strike.begun <= following.mail_at:
                return strike.what.value
        return ""


def findings(evidence: Evidence) -> list[Finding]:
    """Every promise that was broken."""
    return [finding for check in _CHECKS for finding in check(evidence)]


def _nothing_is_lost(evidence: Evidence) -> Iterator[Finding]:
    ledger, received = evidence.ledger, evidence.by_delivery
    for id_ in evidence.accepted:
        end = ledger.ended.get(id_)
        if id_ in ledger.living:
            reached = "received" if id_ in received else "not received"
            yield Finding("stuck", f"{id_} ({reached}): {ledger.living[id_]}")
        elif id_ not in received and (end is None or end.how not in _ENDED_OTHERWISE):
            yield Finding("lost", f"{id_}: {end.how if end else 'unknown to the store'}, and never received")


def _nothing_is_a_phantom(evidence: Evidence) -> Iterator[Finding]:
    for receipt in {receipt.recipient: receipt for receipt in evidence.receipts}.values():
        told = evidence.by_recipient[receipt.recipient][0]
        if not (told.accepted or told.unknown):
            yield Finding("phantom", f"{receipt.id} was received; the client was told {_said(told)}")
        elif receipt.id not in evidence.accepted:
            yield Finding("phantom", f"{receipt.id} was received; the client was told that it is {told.message}")
    ledger = evidence.ledger
    known = set(ledger.living) | set(ledger.ended)
    received = evidence.by_delivery
    recipients = {id_: to for to, id_ in evidence.marks.received.items()}
    for id_ in known - set(evidence.accepted) - set(received):
        to = recipients.get(id_, "")
        told = evidence.by_recipient[to][0] if to in evidence.by_recipient else None
        why = f"the client was told {_said(told)}" if told else "no client was told of it"
        yield Finding("phantom", f"{id_} is in the store; {why}")


def _said(told: Told) -> str:
    if told.code:
        return f"{told.code}{'' if told.past_dot else ' before its data'}"
    return "nothing" if told.past_dot else "nothing before its dot"


def _nothing_is_late(evidence: Evidence) -> Iterator[Finding]:
    for order in evidence.orders:
        if not order.effective_at:
            yield Finding("late", f"the order about {order.tag} never became effective")
    orders = {order.tag: order for order in evidence.orders if order.effective_at}
    for receipt in evidence.receipts:
        found = orders.get(evidence.accepted.get(receipt.id, ""))
        if found is None or receipt.dot_at <= found.effective_at:
            continue
        if receipt.id not in found.past_dot and receipt.id not in evidence.marks.escaped:
            by = receipt.dot_at - found.effective_at
            yield Finding("late", f"{receipt.id} of {found.tag}: dot read {by:.1f} ms after effective_at, not listed")


def _the_books_balance(evidence: Evidence) -> Iterator[Finding]:
    for sentence in evidence.broken:
        yield Finding("unbalanced", sentence)
    by_tag: defaultdict[str, list[str]] = defaultdict(list)
    for id_, tag in evidence.accepted.items():
        by_tag[tag].append(id_)
    for tag, statement in evidence.statements.items():
        for sentence in differences(statement, evidence.ledger.account(by_tag[tag])):
            yield Finding("unbalanced", sentence)
    delivered, uncertain = evidence.ledger.ids("delivered"), evidence.ledger.uncertain()
    for id_ in evidence.by_delivery.keys() - delivered - uncertain - evidence.ledger.living.keys():
        end = evidence.ledger.ended.get(id_)
        if end is not None:
            yield Finding("unbalanced", f"{id_} was received, and is {end.how} without being uncertain")


def _each_copy_is_explained(evidence: Evidence) -> Iterator[Finding]:
    for receipt, why in evidence.copies:
        if not why:
            yield Finding("unexplained", f"{receipt.id} from {receipt.node}, answered at {receipt.replied_at:.0f}")


_CHECKS: tuple[Callable[[Evidence], Iterator[Finding]], ...] = (
    _nothing_is_lost,
    _nothing_is_a_phantom,
    _nothing_is_late,
    _the_books_balance,
    _each_copy_is_explained,
)
KINDS = ("lost", "stuck", "phantom", "late", "unbalanced", "unexplained")


def explanations(evidence: Evidence) -> Counter[str]:
    """How many copies each explanation has."""
    return Counter(why or "unexplained" for _, why in evidence.copies)
