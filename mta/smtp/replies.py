"""Replies of the server side as bytes: one code per line, 7 bits, at most 512 octets (RFC 5321 4.2, 4.5.3.1.5)."""

from mta.model.outcomes import Reply
from mta.model.units import LONGEST_DURATION

MAX_REPLY_LINE = 512

_PRINTABLE = bytes(octet if 0x20 <= octet < 0x7F else 0x3F for octet in range(256))


def render(reply: Reply) -> bytes:
    """The reply on the wire; a text of several lines becomes a multi-line reply, unprintable octets become `?`."""
    text = reply.text
    if "\n" not in text and len(text) < 480 and text.isascii() and text.isprintable():
        enhanced = f" {reply.enhanced}" if reply.enhanced else ""
        return f"{reply.code}{enhanced} {text}\r\n".encode()
    return _render_lines(reply)


def _render_lines(reply: Reply) -> bytes:
    code = b"%d" % reply.code
    enhanced = reply.enhanced.encode("ascii") + b" " if reply.enhanced else b""
    room = MAX_REPLY_LINE - len(code) - 1 - len(enhanced) - 2
    lines = [
        line.encode("ascii", "replace").translate(_PRINTABLE)[:room] for line in reply.text.splitlines() if line
    ] or [b""]
    last = len(lines) - 1
    return b"".join(
        code + (b" " if index == last else b"-") + enhanced + line + b"\r\n" for index, line in enumerate(lines)
    )


def render_extensions(hostname: str, max_message_size: int, is_submission: bool) -> bytes:
    """The answer to EHLO. `is_submission`: the client may send to any recipient, and so may ask for a later release."""
    later = f"250-FUTURERELEASE {LONGEST_HOLD}\r\n" if is_submission else ""
    return (
        f"250-{hostname}\r\n250-PIPELINING\r\n250-SIZE {max_message_size}\r\n"
        f"250-8BITMIME\r\n{later}250 ENHANCEDSTATUSCODES\r\n"
    ).encode()


# RFC 4865 4: the longest wait, and the latest time that can be written; the wait bounds times, too.
LONGEST_HOLD = f"{LONGEST_DURATION} 9999-12-31T23:59:59Z"


OK = b"250 2.0.0 ok\r\n"
SENDER_OK = b"250 2.1.0 sender ok\r\n"
RECIPIENT_OK = b"250 2.1.5 recipient ok\r\n"
SEND_DATA = b"354 end data with <CR><LF>.<CR><LF>\r\n"
ENVELOPE_OK = SENDER_OK + RECIPIENT_OK + SEND_DATA
GOODBYE = b"221 2.0.0 goodbye\r\n"
HELP = b"214 2.0.0 commands: EHLO HELO MAIL RCPT DATA RSET NOOP VRFY HELP QUIT\r\n"
CANNOT_VERIFY = b"252 2.1.5 cannot verify, send some mail to find out\r\n"

NOT_SMTP = b"221 2.7.0 this port speaks SMTP and nothing else, closing\r\n"

UNKNOWN_COMMAND = b"500 5.5.2 command not recognized\r\n"
LINE_TOO_LONG = b"500 5.5.2 line too long\r\n"
BARE_IN_COMMAND = b"500 5.5.2 bare CR or LF in a command, lines end with <CR><LF>\r\n"
BAD_OCTETS = b"501 5.5.2 commands are printable ASCII\r\n"
NO_ARGUMENT = b"501 5.5.4 this command takes no argument\r\n"
NEEDS_NAME = b"501 5.5.4 give your host name\r\n"
NEEDS_ARGUMENT = b"501 5.5.4 give an argument\r\n"
NOT_IMPLEMENTED = b"502 5.5.1 command not implemented\r\n"
HELLO_FIRST = b"503 5.5.1 say EHLO first\r\n"
NESTED_MAIL = b"503 5.5.1 a sender was given already\r\n"
MAIL_FIRST = b"503 5.5.1 say MAIL first\r\n"
NO_RECIPIENTS = b"554 5.5.1 no valid recipients\r\n"
NON_ASCII_SENDER = b"550 5.6.7 addresses outside ASCII need SMTPUTF8, which is not offered\r\n"
NON_ASCII_RECIPIENT = b"553 5.6.7 addresses outside ASCII need SMTPUTF8, which is not offered\r\n"
TOO_LARGE = b"552 5.3.4 message exceeds the maximum size\r\n"
TOO_MANY_RECIPIENTS = b"452 4.5.3 too many recipients, send the rest in another transaction\r\n"
NOT_OFFERED_TO_YOU = b"555 5.5.4 parameter not offered to this client\r\n"
RELAY_DENIED = b"550 5.7.1 relaying denied\r\n"
BARE_IN_DATA = b"550 5.5.2 bare CR or LF in the message, lines end with <CR><LF>\r\n"

BARE_CLOSING = Reply(421, "4.5.2", "a message with bare CR or LF came, closing")
TOO_MANY_ERRORS = Reply(421, "4.7.0", "too many errors, closing")
