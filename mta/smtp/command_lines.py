"""Command lines: how long they may be, which octets they may have, and which lines are of another protocol."""

import re
from typing import Final

from mta.smtp import replies

COMMAND_LINE: Final = 512  # octets with CRLF, RFC 5321 4.5.3.1.4
MAIL_LINE: Final = COMMAND_LINE + 26 + 17  # SIZE (RFC 1870 section 3) and BODY (RFC 6152 section 2)
KEPT_OF_A_LINE: Final = 2048  # octets that are kept while the end of a line has not come

_CLIENT_HELLO: Final = b"\x16\x03"  # the first octets of a TLS record with a handshake, RFC 8446 5.1
_HTTP_VERSION: Final = re.compile(rb" HTTP/[0-9](?:\.[0-9]+)?[ \t]*$", re.IGNORECASE)
# A request's method and target (RFC 9112 3), or a header field. Postfix also takes any header field for no SMTP.
_HTTP: Final = re.compile(
    rb"(?:GET|HEAD|POST|PUT|DELETE|CONNECT|OPTIONS|TRACE|PATCH|PRI)(?![!-~])"
    rb"|[!-9;-~]+ +(?:/|\*|https?://)|[!-9;-~]+[ \t]*:",
    re.IGNORECASE,
)


def objection(line: bytes, verb: bytes, is_cut: bool) -> bytes | None:
    """The reply to a line that is refused whatever its command, or None; `is_cut`: its front was thrown away."""
    if is_cut or (len(line) + 2 > COMMAND_LINE and (verb != b"MAIL" or len(line) + 2 > MAIL_LINE)):
        return replies.LINE_TOO_LONG
    return replies.BARE_IN_COMMAND if b"\r" in line or b"\n" in line else None


def is_of_tls(front: bytes | bytearray, at: int = 0) -> bool:
    """Whether a client that begins a line like this waits for a TLS server."""
    return front.startswith(_CLIENT_HELLO, at)


def is_of_http(line: bytes, has_our_verb: bool) -> bool:
    """Whether a line is one of an HTTP request; only its first 512 octets are looked at, and of those with bare line
    ends the first line. `has_our_verb`: it begins with a command of SMTP, which HTTP may have as its method."""
    first = line[:COMMAND_LINE].replace(b"\r", b"\n").partition(b"\n")[0]
    return _HTTP_VERSION.search(first) is not None or (not has_our_verb and _HTTP.match(first) is not None)
