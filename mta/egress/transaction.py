"""A transaction: one message for recipients of one queue, from its wait for a connection to its end."""

from collections.abc import Collection, Sequence

from mta.model.cancel_orders import CancelOrders, canceled_by
from mta.model.ids import DeliveryId, MessageId, delivery_text, message_of
from mta.model.mail import Claimed, Record
from mta.model.outcomes import Outcome
from mta.model.rules import PastDot
from mta.policy.sending_window import closes_at
from mta.timing.clock import wall_ms

MOST_RECIPIENTS = 100


def _begins_before(record: Record) -> int:
    """The time (Unix ms) from which the delivery may not begin: it expires, or the window of its message closes."""
    window = record.window
    return record.expires_at if window is None else min(record.expires_at, closes_at(window, wall_ms()))


class Transaction:
    """Claimed deliveries of the same message and queue, at most 100."""

    __slots__ = (
        "anew",
        "begins_before",
        "begun_at",
        "claims",
        "content",
        "dot_at",
        "past_dot_of",
        "past_dot_of_some",
        "queue",
        "recipients",
        "refused",
        "restarts",
        "sender",
        "share",
        "site",
        "stopped_at",
    )

    def __init__(self, first: Claimed, site: str) -> None:
        """`site`: of the domain, when its outlet was made."""
        self.claims = [first]
        self.queue = first.queue
        self.site = site
        self.recipients = [first.record.recipient]
        self.sender = first.record.sender
        self.share = first.share
        self.content = first.content
        self.begun_at = 0.0  # loop time of MAIL
        self.dot_at = 0  # Unix ms at which the dot was handed over, 0 = not yet
        self.past_dot_of: tuple[str, ...] = ()  # rules that list all its deliveries
        self.past_dot_of_some: dict[DeliveryId, tuple[str, ...]] = {}  # rules that list some of them, by delivery
        self.begins_before = _begins_before(first.record)  # Unix ms; the earliest of its deliveries
        self.restarts = 0  # how often a used connection was lost during the transaction, or refused it
        self.anew = False  # only a connection that has carried nothing may carry it
        self.refused: tuple[
            Outcome, ...
        ] = ()  # by delivery: the outcomes of the host before; () = this is the first host
        self.stopped_at = ""  # the point at which it waited for a permit last: "mail" | "dot"

    @property
    def labels(self) -> tuple[str, ...]:
        """`Record.labels`, which all deliveries of a message share."""
        return self.claims[0].record.labels

    @property
    def message(self) -> MessageId:
        return message_of(self.claims[0].id)

    def add(self, claimed: Claimed) -> None:
        self.claims.append(claimed)
        self.recipients.append(claimed.record.recipient)
        self.begins_before = min(self.begins_before, _begins_before(claimed.record))
        if self.content is None:
            self.content = claimed.content

    def drop(self, claims: Collection[Claimed]) -> bool:
        """Take out these deliveries, before MAIL; whether others are left."""
        gone = {claimed.id for claimed in claims}
        if self.refused:
            pairs = zip(self.claims, self.refused, strict=True)
            self.refused = tuple(outcome for claimed, outcome in pairs if claimed.id not in gone)
        self.claims = [claimed for claimed in self.claims if claimed.id not in gone]
        self.recipients = [claimed.record.recipient for claimed in self.claims]
        self.begins_before = min((_begins_before(claimed.record) for claimed in self.claims), default=0)
        return bool(self.claims)

    def is_met_by(self, orders: CancelOrders) -> bool:
        """Whether they cancel one of its deliveries."""
        return any(canceled_by(orders, claimed.id) is not None for claimed in self.claims)

    def listed(self, order: str, claims: Sequence[Claimed]) -> list[PastDot]:
        """The `past_dot` entries for an order whose rule matches these deliveries and lets the transaction go on,
        because its dot was handed over before or the rule says `finish`. Called for each generation of a rule, since
        each has a list of its own, and for each rule of a set that matches, since they have one list."""
        if order not in self.past_dot_of:
            if len(claims) == len(self.claims):
                self.past_dot_of += (order,)
            else:
                some = self.past_dot_of_some
                for claimed in claims:
                    some[claimed.id] = tuple(dict.fromkeys((*some.get(claimed.id, ()), order)))
        return [PastDot(order, delivery_text(claimed.id), claimed.record.recipient, self.dot_at) for claimed in claims]

    def is_listed(self, order: str) -> bool:
        """Whether `past_dot` of the order has the deliveries that its rules match."""
        return order in self.past_dot_of or any(order in orders for orders in self.past_dot_of_some.values())

    def __repr__(self) -> str:
        return f"<Transaction {delivery_text(self.claims[0].id)} recipients={len(self.claims)} dot_at={self.dot_at}>"
