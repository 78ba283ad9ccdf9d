"""Kinds of values that a pattern tells as a whole."""

import re
from typing import Any, Final

from control_api.schemas.values import Value, a_text
from mta.model.errors import BadValue


def matching(pattern: str, words: str) -> Value:
    """A text that the pattern matches as a whole; `words` say that another is none."""
    known = re.compile(pattern, re.ASCII)

    def read(value: Any, name: str) -> str:
        if not isinstance(value, str) or not known.fullmatch(value):
            raise BadValue(name, words)
        return value

    return Value(read, a_text(pattern))


A_RECIPIENT: Final = "[!-)+-~]([ -~]{0,318}[!-~])?"  # 320 octets: 64, "@" and 255 (RFC 5321 4.5.3.1)
RECIPIENT: Final = matching(A_RECIPIENT, "is not an address of 1 to 320 printable ASCII characters")
RULE_ID: Final = matching("[0-9a-f]{1,64}", "is not the id of a rule")
