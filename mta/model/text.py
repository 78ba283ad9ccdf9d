"""Untrusted text made visible: what a person cannot see as itself appears as an escape.

Bytes that are not UTF-8 become `\\xNN`; whatever Unicode does not call printable (controls, bidirectional marks, line
separators, odd spaces, lone surrogates) becomes `\\uNNNN` or `\\UNNNNNNNN`. The backslash is left alone, so that making
text visible twice changes nothing.
"""


def visible(text: str | bytes) -> str:
    """`text` as one printable line."""
    if isinstance(text, bytes):
        text = text.decode("utf-8", "surrogateescape")
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escape(ord(char)) for char in text)


def _escape(code: int) -> str:
    if 0xDC80 <= code <= 0xDCFF:  # a byte that was not UTF-8, as surrogateescape keeps it
        return f"\\x{code - 0xDC00:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
