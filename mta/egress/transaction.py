"""One message on its way to the recipients of one queue."""

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
        self.restarts = 0  # how often a connection that had been used before was lost under it, or refused it
        self.anew = False  # only a connection that has carried nothing may carry it
        self.refused: tuple[Outcome, ...] = ()  # by delivery, as the host before said; () = this is the first host
        self.stopped_at = ""  # where it had to wait for a permit last: "mail" | "dot"

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
        """The entries for a rule that lets it go on: the dot had been handed over when the rule came, or what has begun
        may finish. For each of its generations, since each has a list of its own."""
        if rule not in self.past_dot_of:
            self.past_dot_of += (rule,)
        return [
            PastDot(rule, delivery_text(claimed.id), claimed.record.recipient, self.dot_at) for claimed in self.claims
        ]

    def __repr__(self) -> str:
        return f"<Transaction {delivery_text(self.claims[0].id)} recipients={len(self.claims)} dot_at={self.dot_at}>"
