"""The author's domain: that of the mailbox in the From header (RFC 5322 3.6.2)."""

import re
from collections.abc import Sequence

_QUOTED = re.compile(rb'"(?:[^"\\]|\\.)*"|\((?:[^()\\]|\\.)*\)')  # quoted strings, comments
_ANGLED = re.compile(rb"<([^<>]*)>")


def author_domain(values: Sequence[bytes]) -> str:
    """Of the first mailbox of the one From field, as it is written. "" where no or several fields are given, or the
    field names no mailbox."""
    if len(values) != 1:
        return ""
    value = _QUOTED.sub(b"", values[0].replace(b"\r\n", b""))
    angled = _ANGLED.search(value)
    address = value.partition(b",")[0] if angled is None else angled[1]
    domain = address.rpartition(b"@")[2].strip(b" \t;") if b"@" in address else b""
    return domain.decode("utf-8", "replace")
