"""The state of one SMTP session on the server side: the client's name and trust, its transaction, the replies to it."""

import enum
from collections.abc import Callable
from typing import NamedTuple

from mta.model.outcomes import Reply
from mta.smtp import replies
from mta.smtp.data_phase import DataPhase
from mta.smtp.error_count import ErrorCount
from mta.smtp.mail_parameters import NONE_GIVEN
from mta.smtp.recipient_list import RecipientList


class State(enum.Enum):
    """The input that the session waits for."""

    COMMAND = "waiting for a command"
    DATA = "receiving a message"
    REPLY = "waiting for the reply to a message"
    CLOSED = "closing"


class Trust(NamedTuple):
    """The rights of the client. They come from its address when the session begins; a verb may replace them."""

    may_relay: bool  # it may send to any recipient
    normalizes: bool = False  # a bare CR or LF in its messages becomes CRLF; else such messages are refused


class Limits(NamedTuple):
    """The bounds of a session."""

    message_size: int  # octets of content
    recipients: int  # of a message
    errors: int  # until the session is closed


class ServerSession:
    """Changed by the verbs of the client (`mta.smtp.verbs`) and by the end of each message."""

    __slots__ = (
        "data_phase",
        "errors",
        "esmtp",
        "extensions",
        "helo",
        "hostname",
        "is_foreign",
        "limits",
        "output",
        "parameters",
        "recipients",
        "refusal",
        "sender",
        "state",
        "trust",
    )

    def __init__(
        self,
        hostname: str,
        trust: Trust,
        limits: Limits,
        refusal: Callable[[], Reply | None] | None = None,
    ) -> None:
        """Each MAIL calls `refusal`, which returns a reply while no message may come."""
        self.state = State.COMMAND
        self.hostname = hostname
        self.trust = trust
        self.refusal = refusal
        self.limits = limits
        self.extensions = replies.render_extensions(hostname, limits.message_size, trust.may_relay)
        self.helo = ""  # "" = no EHLO or HELO yet
        self.esmtp = False
        self.is_foreign = False  # the client speaks HTTP or TLS
        self.sender: str | None = None  # None = no transaction is open, "" = the null sender
        self.recipients = RecipientList(limits.recipients)
        self.parameters = NONE_GIVEN  # of MAIL
        self.data_phase = DataPhase(limits.message_size)
        self.errors = ErrorCount(limits.errors)
        self.output: list[bytes] = []  # replies that were not taken yet

    def say(self, reply: Reply) -> None:
        self.output.append(replies.render(reply))
        if reply.code == 421:  # RFC 5321 3.8: the channel closes
            self.end()

    def end(self) -> None:
        """Ignore all further input of the client."""
        self.state = State.CLOSED
        self.reset_transaction()

    def reset_transaction(self) -> None:
        """Forget sender, recipients and content: the one way out of every transaction."""
        self.sender = None
        self.recipients.clear()
        self.parameters = NONE_GIVEN

    def refuse_protocol(self) -> None:
        """Close the session at once. SMTP commands that follow would come from the body of an HTTP request that an
        attacker made the client send."""
        self.is_foreign = True
        self.output.append(replies.NOT_SMTP)
        self.end()

    def is_junk(self) -> bool:
        """Count a command that moves no mail; True: the session was closed for it."""
        is_full = self.errors.add_junk()
        if is_full:
            self.say(replies.TOO_MANY_ERRORS)
        return is_full
