"""Messages that come as ready MIME: line ends are mended, and nothing in them may be an order."""

from mta.content.header_block import has_received, take_header
from mta.model.errors import BadValue
from mta.model.settings import SmtpSettings
from mta.smtp.transparency import has_bare_line_end

MAX_RECEIVED = 100  # RFC 5321 6.3


class ReadyMime:
    """Takes ready messages by the settings of the way in."""

    def __init__(self, smtp: SmtpSettings) -> None:
        self._prefixes = tuple(prefix.lower() for prefix in smtp.header_prefixes)
        self._normalizes = smtp.bare_newline == "normalize"

    def split(self, text: str, field: str) -> tuple[bytes, bytes]:
        """The header, and the rest from the empty line on. Raises BadValue."""
        content = text.encode()
        if has_bare_line_end(content):
            if not self._normalizes:
                raise BadValue(field, 'has a bare CR or LF, and smtp.bare_newline is "refuse"; end lines with CRLF')
            content = content.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")
        if not content.endswith(b"\r\n"):
            content += b"\r\n"
        block, taken, rest, _ = take_header(content, self._prefixes)
        if taken:
            name = taken.partition(b":")[0].decode("ascii", "replace")
            raise BadValue(field, f"has the injection header {name}; give what it asks for as a field of the body")
        if block in (b"", b"\r\n"):
            raise BadValue(field, "has no header; it begins with header fields, then an empty line")
        if has_received(block, MAX_RECEIVED):
            raise BadValue(field, f"has {MAX_RECEIVED} Received headers: the message goes in circles")
        return block, content[rest:]
