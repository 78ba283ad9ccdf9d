"""Knowledge about the replies of destinations: the category of a reply, the party at fault, and the reaction to it."""

import enum
from typing import Annotated, Final, Literal, NamedTuple

from msgspec import Meta, Struct


class Fault(enum.StrEnum):
    """The party that is at fault. Only a fault of the recipient may ever suppress an address."""

    RECIPIENT = "recipient"
    SENDER = "sender"
    INFRASTRUCTURE = "infrastructure"  # the reputation, addresses and DNS that mail is sent with
    PEER = "peer"  # the destination's servers
    OURS = "ours"  # Floodgate, its rules and its operator


class Reaction(enum.StrEnum):
    """The next step for a delivery that got such a reply."""

    RETRY = "retry"  # at the same host later
    BOUNCE = "bounce"
    NEXT_HOST = "next_host"  # at the next host of the destination now, else later
    SLOW_DOWN = "slow_down"  # later than `retry`: the next step of the schedule is left out


NAME: Final = "^[a-z0-9][a-z0-9._-]{0,62}$"  # of an entry
CODE: Final = "^[245][0-9x][0-9x]$"
PROVIDER: Final = "^[A-Za-z0-9._ -]{0,63}$"
ENHANCED: Final = r"^[245x]\.[0-9]{1,3}\.[0-9]{1,3}$"

# The categories, with the names of PowerMTA and KumoMTA for each. The first one is written in PowerMTA's accounting
# files.
ALIASES: Final[dict[str, tuple[str, ...]]] = {
    "bad_mailbox": ("bad-mailbox", "InvalidRecipient"),
    "inactive_mailbox": ("inactive-mailbox", "InactiveMailbox"),
    "bad_domain": ("bad-domain", "BadDomain"),
    "quota": ("quota-issues", "QuotaIssues"),
    "invalid_sender": ("invalid-sender", "InvalidSender"),
    "authentication": ("policy-related", "AuthenticationFailed"),
    "ip_block": ("spam-related", "SpamBlock"),
    "domain_block": ("spam-related", "SpamRelated"),
    "spam_content": ("content-related", "SpamContent", "ContentRelated"),
    "policy": ("policy-related", "PolicyRelated"),
    "rate_limited": ("policy-related", "TransientFailure"),
    "greylisted": ("other", "ChallengeResponse"),
    "relaying": ("relaying-issues", "RelayDenied", "RelayingIssues"),
    "routing": ("routing-errors", "RoutingErrors", "DNSFailure", "bad-configuration", "BadConfiguration"),
    "no_answer": ("no-answer-from-host", "NoAnswerFromHost"),
    "bad_connection": ("bad-connection", "BadConnection"),
    "protocol": ("protocol-errors", "ProtocolErrors", "TooManyRecipients"),
    "size": ("quota-issues",),
    "virus": ("virus-related", "VirusRelated", "ProhibitedAttachment"),
    "expired": ("message-expired", "MessageExpired"),
}
# An alias that several categories have means the category that is named here.
_SHARED: Final = {"policy-related": "policy", "quota-issues": "quota", "spam-related": "ip_block"}


def category_of(name: str) -> str | None:
    """The category of this name, ours or that of PowerMTA or KumoMTA; None: there is none."""
    if name in ALIASES:
        return name
    found = _SHARED.get(name) or next((own for own, others in ALIASES.items() if name in others), None)
    return None if name == "other" else found


class Known(NamedTuple):
    """The knowledge about one reply; `entry` is the name of the entry that it is from, "" = none."""

    category: str
    fault: str  # a Fault; "" = the reply does not tell
    reaction: Reaction = Reaction.RETRY
    entry: str = ""
    provider: str = ""


OUR_DECISION: Final = Known("", Fault.OURS)  # an order of the operator ended or deferred the delivery


class ReplyEntry(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Knowledge about replies: one that fits pattern, code and enhanced code is of this category. An entry gives at
    least one of the three. An entry of the name of a shipped one takes its place."""

    pattern: Annotated[
        str,
        Meta(max_length=2000, description='Regular expression (RE2) anywhere in the text, any case; "" = any text.'),
    ] = ""
    code: Annotated[
        tuple[Annotated[str, Meta(pattern=CODE)], ...],
        Meta(max_length=10, description='Codes, an x for any digit: ["550", "45x"]; [] = any 4xx or 5xx.'),
    ] = ()
    enhanced: Annotated[
        str,
        Meta(
            pattern=f"^({ENHANCED[1:-1]})?$",
            description='Enhanced code (RFC 3463), an x for any class: "x.1.1"; "" = any.',
        ),
    ] = ""
    provider: Annotated[str, Meta(pattern=PROVIDER, description="The mail provider or the program, as a label.")] = ""
    category: Annotated[str, Meta(description="Its category; names of PowerMTA and KumoMTA are taken, too.")]
    fault: Annotated[
        Literal["recipient", "sender", "infrastructure", "peer", "ours"], Meta(description="The party at fault.")
    ]
    reaction: Annotated[
        Literal["retry", "bounce", "next_host", "slow_down"],
        Meta(description="The next step for the delivery; a 4xx never bounces."),
    ]
    enabled: Annotated[bool, Meta(description="false: the entry, and a shipped one of its name, is out of use.")] = True
    sample: Annotated[str, Meta(max_length=1000, description="A real reply that it is made for.")] = ""
    source: Annotated[str, Meta(max_length=500, description="The page or the log that the sample is from.")] = ""


def known_by(name: str, entry: ReplyEntry) -> Known:
    """The knowledge that an entry gives."""
    return Known(category_of(entry.category) or "", Fault(entry.fault), Reaction(entry.reaction), name, entry.provider)


class UnknownReply(NamedTuple):
    """Replies that no entry knows, and that are counted together."""

    provider: str  # the domain of the host that gave it
    code: int
    enhanced: str
    text: str  # without the parts that differ from one reply to the next


EXAMPLE_NAME: Final = "example-is-away"
EXAMPLE: Final = ReplyEntry(
    pattern="is on leave until",
    code=("450",),
    category="inactive_mailbox",
    fault="recipient",
    reaction="retry",
    sample="450 4.2.1 The user is on leave until Monday",
    source="our log of 2026-11-02",
)
