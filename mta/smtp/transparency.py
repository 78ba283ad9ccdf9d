"""Transparency: how DATA carries any content, with dots stuffed and a dot at its end (RFC 5321 4.5.2).

Only `<CR><LF>.<CR><LF>` ends it (RFC 5321 4.1.1.4), and only `<CR><LF>` ends a line (RFC 5321 2.3.8).
"""

import io
import re
from typing import Final

END_OF_DATA: Final = b"\r\n.\r\n"  # its first two octets end the content's last line, or the DATA command

_line_with_a_dot: Final = re.compile(rb"\r\n\.").search  # in half the time of `in`
_CRLF: Final = "\u0100"
_newlines: Final = io.IncrementalNewlineDecoder(None, translate=False)


def most_on_the_wire(size: int) -> int:
    """The most octets that content of `size` octets has on the wire: stuffing makes a line at most 4/3 as long."""
    return size * 4 // 3 + 16


def end_of_data(raw: bytearray, scan: int, stuffed: bool) -> tuple[int, bool]:
    """Where it begins at or after `scan`, -1 = it has not come; and whether a line before it begins with a dot, as one
    before `scan` does if `stuffed`. One search finds both: most content has no such line but the last."""
    if not stuffed:
        found = _line_with_a_dot(raw, scan)
        at = found.start() if found is not None else -1
        if at < 0 or raw.startswith(END_OF_DATA, at):
            return at, False
        if len(raw) < at + len(END_OF_DATA):
            return -1, False
    return raw.find(END_OF_DATA, scan), True


def is_whole_content(raw: bytes) -> bool:
    """Whether these octets, which follow the CRLF of DATA, are content without a stuffed line, and the end of data."""
    end = len(raw) - len(END_OF_DATA)
    if not raw.endswith(END_OF_DATA) or raw.startswith(b"."):
        return False
    found = _line_with_a_dot(raw)
    return found is not None and found.start() == end


def unstuffed(raw: bytes) -> bytes:
    """The content; `raw` has the CRLF before it and, where it is not empty, that of its last line."""
    return raw.replace(b"\r\n.", b"\r\n")[2:]


def with_crlf(raw: bytes, stuffed: bool) -> bytes:
    """The content, as `unstuffed` has it where `stuffed`, once each bare CR and LF is a CRLF. A line behind a bare LF
    loses its first dot only where two begin it: clients that end lines so (smtplib) stuff there, too, but a lone dot
    there is content, never the end."""
    if b"\n.." not in raw:
        content = unstuffed(raw) if stuffed else raw
        return content.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")
    # A character that no octet is stands for CRLF: replacing is a tenth of the work of a pattern with a look-behind.
    text = raw.decode("latin-1").replace("\r\n", _CRLF)
    if stuffed:
        text = text.replace(_CRLF + ".", _CRLF)[1:]
    text = text.replace("\n..", "\n.").replace("\r", _CRLF).replace("\n", _CRLF)
    return text.replace(_CRLF, "\r\n").encode("latin-1")


def has_bare_line_end(raw: bytes) -> bool:
    """Whether there is a CR or LF that is no part of a CRLF."""
    seen = _newlines  # one pass, where counting takes three; to make one takes as long as the pass
    seen.reset()
    seen.decode(raw.decode("latin-1"), final=True)
    return seen.newlines not in (None, "\r\n")


def wire_form(content: bytes) -> bytes:
    """Content as it follows 354: dots stuffed, last line ended, and the final dot."""
    if _line_with_a_dot(content):
        content = content.replace(b"\r\n.", b"\r\n..")
    if content.startswith(b"."):
        content = b"." + content
    if not content or content.endswith(b"\r\n"):
        return content + b".\r\n"
    return content + b"\r\n.\r\n"


def sent_size(content: bytes) -> int:
    """The size that SIZE= declares: content with its last line ended, without stuffing and dot (RFC 1870 6)."""
    return len(content) if not content or content.endswith(b"\r\n") else len(content) + 2
