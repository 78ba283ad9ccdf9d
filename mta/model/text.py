"""Untrusted text in one form, and made visible: a character that a person cannot see as itself appears as an escape.

Bytes that are not UTF-8 become `\\xNN`; whatever Unicode does not call printable (controls, bidirectional marks, line
separators, odd spaces, lone surrogates) becomes `\\uNNNN` or `\\UNNNNNNNN`. The backslash is left alone, so that making
text visible twice changes nothing.
"""

import unicodedata


def composed(text: str) -> str:
    """`text` in the Unicode form NFC, in which tags and tenants are kept and compared: a letter with its accent is one
    character, however it was typed. Ask it about short texts only: the time it takes may grow by the square of them."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


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
