"""Command lines: how long they may be, which octets they may have, and which lines are of another protocol."""

import re
from typing import Final

from mta.smtp import replies

COMMAND_LINE: Final = 512  # octets with CRLF, RFC 5321 4.5.3.1.4
MAIL_LINE: Final = COMMAND_LINE + 26 + 17  # SIZE (RFC 1870 section 3) and BODY (RFC 6152 section 2)
KEPT_OF_A_LINE: Final = 2048  # octets of an unfinished line; a longer line is discarded

_CLIENT_HELLO: Final = b"\x16\x03"  # the first octets of a TLS record with a handshake, RFC 8446 5.1
_HTTP_VERSION: Final = re.compile(rb" HTTP/[0-9](?:\.[0-9]+)?[ \t]*$", re.IGNORECASE)
# The method and target of a request (RFC 9112 3), or a header field, for which Postfix also closes a connection.
_HTTP: Final = re.compile(
    rb"(?:GET|HEAD|POST|PUT|DELETE|CONNECT|OPTIONS|TRACE|PATCH|PRI)(?![!-~])"
    rb"|[!-9;-~]+ +(?:/|\*|https?://)|[!-9;-~]+[ \t]*:",
    re.IGNORECASE,
)


def objection(line: bytes, verb: bytes, is_cut: bool) -> bytes | None:
    """The reply that refuses a line for its length or its octets; None: it is fine. `is_cut`: the line was too long to
    be kept."""
    if is_cut or (len(line) + 2 > COMMAND_LINE and (verb != b"MAIL" or len(line) + 2 > MAIL_LINE)):
        return replies.LINE_TOO_LONG
    return replies.BARE_IN_COMMAND if b"\r" in line or b"\n" in line else None


def is_of_tls(front: bytes | bytearray, at: int = 0) -> bool:
    """Whether a client that begins a line like this waits for a TLS server."""
    return front.startswith(_CLIENT_HELLO, at)


def is_of_http(line: bytes, has_our_verb: bool) -> bool:
    """Whether a line belongs to an HTTP request, by its first 512 octets up to a bare line end. `has_our_verb`: the
    line begins with an SMTP verb, so a match of the HTTP method proves nothing."""
    first = line[:COMMAND_LINE].replace(b"\r", b"\n").partition(b"\n")[0]
    return _HTTP_VERSION.search(first) is not None or (not has_our_verb and _HTTP.match(first) is not None)
