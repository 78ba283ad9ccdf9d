"""A transaction: one message for recipients of one queue, from its wait for a connection to its end."""

from mta.model.ids import MessageId, delivery_text, message_of
from mta.model.mail import Claimed
from mta.model.outcomes import Outcome
from mta.model.rules import PastDot

MOST_RECIPIENTS = 100


class Transaction:
    """Claimed deliveries of the same message and queue, at most 100."""

    __slots__ = (
        "anew",
        "begun_at",
        "claims",
        "content",
        "dot_at",
        "expires_at",
        "labels",
        "past_dot_of",
        "queue",
        "recipients",
        "refused",
        "restarts",
        "sender",
        "share",
        "stopped_at",
    )

    def __init__(self, first: Claimed) -> None:
        self.claims = [first]
        self.queue = first.queue
        self.recipients = [first.record.recipient]
        self.sender = first.record.sender
        self.share = first.share
        self.labels = first.record.labels
        self.content = first.content
        self.begun_at = 0.0  # loop time of MAIL
        self.dot_at = 0  # Unix ms at which the dot was handed over, 0 = not yet
        self.past_dot_of: tuple[str, ...] = ()
        self.expires_at = first.record.expires_at  # Unix ms; the earliest of its deliveries
        self.restarts = 0  # how often a used connection was lost during the transaction, or refused it
        self.anew = False  # only a connection that has carried nothing may carry it
        self.refused: tuple[
            Outcome, ...
        ] = ()  # by delivery: the outcomes of the host before; () = this is the first host
        self.stopped_at = ""  # the point at which it waited for a permit last: "mail" | "dot"

    @property
    def message(self) -> MessageId:
        return message_of(self.claims[0].id)

    def add(self, claimed: Claimed) -> None:
        self.claims.append(claimed)
        self.recipients.append(claimed.record.recipient)
        self.expires_at = min(self.expires_at, claimed.record.expires_at)
        if self.content is None:
            self.content = claimed.content

    def listed(self, rule: str) -> list[PastDot]:
        """The `past_dot` entries for a rule that lets the transaction go on, because its dot was handed over before or
        the rule says `finish`. Called for each generation of a rule, since each has a list of its own."""
        if rule not in self.past_dot_of:
            self.past_dot_of += (rule,)
        return [
            PastDot(rule, delivery_text(claimed.id), claimed.record.recipient, self.dot_at) for claimed in self.claims
        ]

    def __repr__(self) -> str:
        return f"<Transaction {delivery_text(self.claims[0].id)} recipients={len(self.claims)} dot_at={self.dot_at}>"
