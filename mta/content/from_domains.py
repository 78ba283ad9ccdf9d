"""The domains that the From header of a message names (RFC 5322 3.6.2)."""

import re

from mta.content.header_block import header_end, split_fields, take_fields

_NAME = ("from",)
_QUOTED = re.compile(rb'"(?:[^"\\]|\\.)*"|\((?:[^()\\]|\\.)*\)')  # quoted strings, comments
_AT = re.compile(rb"@[ \t]*([^\s<>,;:()\"@]*)")


def from_domains(content: bytes) -> list[bytes]:
    """As they are written, of every From field. Each domain behind an `@` outside of quotes and comments counts, also
    in a display name: a recipient's program may take it for the address."""
    _, lines = take_fields(content[: header_end(content)], _NAME)
    found = []
    for name, value in split_fields(lines):
        if name.lower() == b"from":
            found += _AT.findall(_QUOTED.sub(b" ", value.replace(b"\r\n", b"")))
    return found
