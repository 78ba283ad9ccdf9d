"""The outcome of one attempt for one delivery."""

import enum
from typing import Final, NamedTuple

import msgspec

from mta.model.replies import Known

EXPIRED: Final = "4.4.7"  # RFC 3463 3.5: delivery time expired


class Reply(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """An SMTP reply: a remote server's, a forced error's, or our own words about a failure (RFC 5321 4.2, RFC 3463)."""

    code: int
    enhanced: str = ""  # "5.1.1"; "" = none given
    text: str = ""


class Origin(enum.StrEnum):
    """The party that decided an outcome."""

    REMOTE = "remote"
    FORCED = "forced"
    LOCAL = "local"


class Stage(enum.StrEnum):
    """The stage of a delivery at which a forced error matched it."""

    QUEUED = "queued"
    ATTEMPT = "attempt"
    BEFORE_DOT = "before_dot"
    DOOR = "door"


class Forced(NamedTuple):
    """The rule that decided: id, the generation it was matched with, and where."""

    rule: str
    generation: int
    stage: Stage | None = None  # None: the event is about the rule itself
    by: str = ""  # the author of that generation


class Verdict(enum.Enum):
    """How an attempt ended for one delivery, before the retry schedule has its say."""

    DELIVERED = "delivered"
    TEMPORARY = "temporary"  # try again (4xx, connection trouble, DNS trouble, forced 4xx)
    PERMANENT = "permanent"  # never try again
    INTERCEPTED = "intercepted"  # a forced 5xx or 2xx
    HELD = "held"  # a pause: no attempt counted
    FILTERED = "filtered"  # its recipient is suppressed
    CANCELED = "canceled"  # a client of the API canceled this message
    SIMULATED = "simulated"  # the simulation played its end
    RETURNED = "returned"  # not attempted: back to the queue as it was, no attempt counted (drain, abort, no permit)


class ReturnReason(enum.StrEnum):
    """The reason why a claimed delivery went back to its queue without an attempt; `words` is for people."""

    words: str

    def __new__(cls, value: str, words: str) -> "ReturnReason":
        member = str.__new__(cls, value)
        member._value_ = value
        member.words = words
        return member

    STOPPING = "stopping", "the worker was stopping"
    NO_PERMIT = "no_permit", "the final dot waited too long for a permit of the rule table"
    NO_SLOT = "no_slot", "other workers hold every connection that the limits allow"
    LIMITS = "limits", "the limits of its site have changed"
    NOT_SERVED = "not_served", "the node does not serve its pool any more"
    NO_CONNECTION = "no_connection", "no connection was free for its queue"
    CONTENT_UNREAD = "content_unread", "the store gave no answer about the content"
    OVERDUE = "overdue", "its time was over while it was on the list of a rule"
    WINDOW_CLOSED = "window_closed", "the sending window of its message was closed"
    RULE_LIFTED = "rule_lifted", "the rule that had decided about it was lifted"
    TOO_MANY_RECIPIENTS = "too_many_recipients", "the server took other recipients of the message and no more"
    UNASKED = "suppressions_unread", "the store gave no answer about suppressions"
    OTHER_RECIPIENT = "other_recipient", "an order ended its transaction because of another recipient of the message"


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """The result of one attempt for one delivery; `Settle.settle` turns it into a state of the queue."""

    verdict: Verdict
    reply: Reply
    origin: Origin
    mta: str = ""  # the sending IP
    mx: str = ""
    remote_ip: str = ""
    tls: str = ""  # protocol and cipher, "" = clear text
    duration_ms: int = 0  # from MAIL to the last reply
    forced: Forced | None = None
    reason: str = ""  # for people: the step that failed ("connecting to mx1.example.com")
    uncertain: bool = False  # the dot was handed over and no reply to it was read
    past_dot_of: tuple[str, ...] = ()  # rules that became effective while this was past its dot
    undoable: bool = False  # with INTERCEPTED: an undo copy is kept
    unintelligible: bool = False  # with TEMPORARY: the server does not speak the protocol, see `mta.policy.failures`
    returned: ReturnReason | None = None  # with RETURNED
    dialogue: tuple[str, ...] = ()  # of an attempt that failed: the lines of the session, without content
    by: str = ""  # with CANCELED: the author of the order
    topic: str = ""  # with FILTERED: of the suppression
    known: Known | None = None  # the knowledge about the reply; None: it is not known, or no failure
    route: str = ""  # "mx", or the relay or host that the settings name; "" = no attempt began
    tls_failed: str = ""  # the reason why TLS did not come about, although it was wanted
    untried: bool = False  # with TEMPORARY: no connection was tried for it, so it counts no attempt
    simulated: bool = False  # the simulation played it: no destination had a part in it


NO_ATTEMPT: Final = Outcome(Verdict.RETURNED, Reply(0), Origin.LOCAL)  # Floodgate itself decided, without one


class Class(enum.StrEnum):
    """The classes of the books: every accepted delivery is in exactly one of these."""

    QUEUED = "queued"
    HELD = "held"
    PARKED = "parked"
    DELIVERED = "delivered"
    BOUNCED = "bounced"
    EXPIRED = "expired"
    INTERCEPTED = "intercepted"
    CANCELED = "canceled"
    FILTERED = "filtered"
    THROTTLED = "throttled"
    SIMULATED = "simulated"
