"""The verbs of a client: each changes the session, and returns its reply or None when it has already replied.

A new verb is a function and a row of `VERBS`. It changes the session only; lines, content and the order of replies are
handled in `mta.smtp.server_machine`.
"""

from collections.abc import Callable
from typing import Final

from mta.smtp import replies
from mta.smtp.command_lines import is_of_http
from mta.smtp.envelope import printable, read_recipient, read_sender
from mta.smtp.server_session import ServerSession, State

_DATA: Final = State.DATA

# Verbs of SMTP that are answered 502 instead of 500.
NOT_OFFERED: Final = frozenset((b"EXPN", b"BDAT", b"STARTTLS", b"AUTH", b"ETRN", b"TURN", b"SEND", b"SOML", b"SAML"))


def _hello(session: ServerSession, argument: bytes, answer: bytes, esmtp: bool) -> bytes | None:
    name = printable(argument)
    if name is None:
        return replies.BAD_OCTETS
    if not name:
        return replies.NEEDS_NAME
    if is_of_http(b" " + argument, True):
        session.refuse_protocol()
        return None
    if session.is_junk():
        return None
    session.reset_transaction()
    session.helo = name
    session.esmtp = esmtp
    return answer


def _ehlo(session: ServerSession, argument: bytes) -> bytes | None:
    return _hello(session, argument, session.extensions, True)


def _helo(session: ServerSession, argument: bytes) -> bytes | None:
    return _hello(session, argument, f"250 {session.hostname}\r\n".encode(), False)


def _mail(session: ServerSession, argument: bytes) -> bytes | None:
    if not session.helo:
        return replies.HELLO_FIRST
    if session.sender is not None:
        return replies.NESTED_MAIL
    told = read_sender(argument, session.esmtp, session.limits.message_size)
    if isinstance(told, bytes):
        return told
    if session.refusal is not None:
        closed = session.refusal()
        if closed is not None:
            session.say(closed)
            return None
    if told[1].hold is not None and not session.trust.may_relay:
        return replies.NOT_OFFERED_TO_YOU
    session.sender, session.parameters = told
    return replies.SENDER_OK


def _rcpt(session: ServerSession, argument: bytes) -> bytes:
    if session.sender is None:
        return replies.MAIL_FIRST
    recipient = read_recipient(argument)
    if isinstance(recipient, bytes):
        return recipient
    if not session.trust.may_relay:
        return replies.RELAY_DENIED
    if "@" not in recipient:
        recipient = f"{recipient}@{session.hostname}"
    return replies.RECIPIENT_OK if session.recipients.add(recipient) else replies.TOO_MANY_RECIPIENTS


def _data(session: ServerSession, argument: bytes) -> bytes:
    if argument:
        return replies.NO_ARGUMENT
    if session.sender is None:
        return replies.MAIL_FIRST
    if not session.recipients.mailboxes:
        return replies.NO_RECIPIENTS
    session.state = _DATA
    session.data_phase.begin()
    return replies.SEND_DATA


def _rset(session: ServerSession, argument: bytes) -> bytes | None:
    if argument:
        return replies.NO_ARGUMENT
    if session.is_junk():
        return None
    session.reset_transaction()
    return replies.OK


def _noop(session: ServerSession, argument: bytes) -> bytes | None:
    return _small_talk(session, argument, replies.OK)


def _help(session: ServerSession, argument: bytes) -> bytes | None:
    return _small_talk(session, argument, replies.HELP)


def _vrfy(session: ServerSession, argument: bytes) -> bytes | None:
    if not argument:
        return replies.NEEDS_ARGUMENT
    return _small_talk(session, argument, replies.CANNOT_VERIFY)


def _small_talk(session: ServerSession, argument: bytes, answer: bytes) -> bytes | None:
    """The reply to a command with any argument and without effect on mail."""
    if printable(argument) is None:
        return replies.BAD_OCTETS
    if argument and is_of_http(b" " + argument, True):
        session.refuse_protocol()
        return None
    return None if session.is_junk() else answer


def _quit(session: ServerSession, argument: bytes) -> None:
    session.output.append(replies.GOODBYE)
    session.end()


VERBS: Final[dict[bytes, Callable[[ServerSession, bytes], bytes | None]]] = {
    b"MAIL": _mail,
    b"RCPT": _rcpt,
    b"DATA": _data,
    b"EHLO": _ehlo,
    b"HELO": _helo,
    b"RSET": _rset,
    b"NOOP": _noop,
    b"VRFY": _vrfy,
    b"HELP": _help,
    b"QUIT": _quit,
}
