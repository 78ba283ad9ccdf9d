"""Replies of a server, cut out of the byte stream and bounded (RFC 5321 4.2, RFC 3463).

The parser gives the same replies, and the same fault behind them, however the bytes are split. A line ends with LF,
with or without a CR before it. In a reply of several lines the code of the last line counts; lines without a code are
kept as text. A line that stands alone and has no code from 200 to 599 is a fault: nothing behind it can be trusted.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

from mta.model.outcomes import Reply

KEPT_TEXT = 1024  # octets of a reply's text, and of each line
KEPT_LINES = 64
MOST_BYTES = 1024 * 1024  # octets of one reply; beyond them it is a fault

_KEPT_BYTES = 8 * 1024  # octets of all lines together
_SHOWN = 80  # octets of a fault
_MOST_SUCCESSES = 1024
_MOST_KNOWN, _SHORT_LINE, _SHORT_GROUP = 256, 64, 512

_LINE = re.compile(rb"([2-5][0-9]{2})(?:([ -])(.*))?", re.ASCII | re.DOTALL)
_WRONG_CODE = re.compile(rb"[0-9]{3}(?: .*)?", re.ASCII | re.DOTALL)
_BEGUN = re.compile(rb"(?:[2-5](?:[0-9](?:[0-9](?:[ -].*)?)?)?)?\r?", re.ASCII | re.DOTALL)
_FAILURES = b"45"
_FIRST_FAILURE = 400
_LOOKED_AT = 200  # characters in which an enhanced code may stand
# The subjects that are registered, so that a version such as 4.94.2 is no code, nor a part of an address.
_ENHANCED_WITHIN = re.compile(r"(?<![0-9.])([245]\.[0-7]\.[0-9]{1,3})(?![0-9]|\.[0-9])", re.ASCII)
_ENHANCED = re.compile(r"([245]\.[0-9]{1,3}\.[0-9]{1,3})(?: +|$)", re.ASCII)


class ReplyParser:
    """Takes bytes in any split and gives complete replies in order. `fault` says why it takes no more ("" = it does):
    replies that came before the fault are given all the same. `lines` are those of the last reply of several lines."""

    __slots__ = ("_buffer", "_bytes", "_code", "_known", "_length", "_texts", "fault", "lines")

    def __init__(self) -> None:
        self.fault = ""
        self.lines: list[bytes] = []
        self._buffer = b""  # the beginning of a line that has no end yet
        self._length = 0  # octets of that line so far
        self._code = b""  # of the multi-line reply that is being read, b"" = none
        self._texts: list[bytes] = []
        self._bytes = 0  # octets read since the last reply
        self._known: dict[bytes, Reply] = {}  # short one-line replies, which servers repeat, parsed once

    def feed(self, data: bytes) -> Sequence[Reply]:
        """The replies that `data` completes. Check `fault` afterwards."""
        whole = not (self._buffer or self._bytes)
        if whole and not self.fault and (said := _successes.get(data)) is not None:
            if said.lines is not None:
                self.lines = said.lines
            return said.replies
        before = self.lines
        replies: list[Reply] = []
        if self.fault:
            return replies
        lines = data.split(b"\n")
        rest = lines.pop()
        known = self._known
        for line in lines:
            if self._length:
                length = self._length + len(line)
                line = (self._buffer + line)[: KEPT_TEXT + 1]
                self._buffer, self._length = b"", 0
            else:
                length = len(line)
            line = line[:-1] if length == len(line) and line.endswith(b"\r") else line
            reply = known.get(line) if not self._bytes else None
            if reply is None:
                reply = self._take(line, length)
                if self.fault:
                    return replies
                if reply is None:
                    continue
            replies.append(reply)
        if rest:
            self._buffer = (self._buffer + rest)[: KEPT_TEXT + 1]
            self._length += len(rest)
            if self._bytes + self._length > MOST_BYTES:
                self.fault = "a reply has no end"
        if whole and len(data) <= _SHORT_GROUP and not (rest or self._bytes):
            _keep_successes(data, _Said(replies, None if self.lines is before else self.lines))
        return replies

    @property
    def pending(self) -> bool:
        """Whether a reply has begun that is not complete."""
        return bool(self._buffer or self._code)

    def end(self) -> None:
        """No more bytes come: a last line without an end that cannot be the beginning of a reply is a fault, too."""
        if not self.fault and not self._code and _BEGUN.fullmatch(self._buffer) is None:
            self.fault = _no_reply(self._buffer)

    def _take(self, line: bytes, length: int) -> Reply | None:
        """One line of `length` octets, of which `line` is the kept part, without its CR."""
        line = line[:KEPT_TEXT]
        self._bytes += length + 1
        if self._bytes > MOST_BYTES:
            self.fault = "a reply has no end"
            return None
        if not line:
            return None
        found = _LINE.fullmatch(line)
        if found is None:
            if not self._code or _WRONG_CODE.fullmatch(line) is not None:
                self.fault = _no_reply(line)
            else:
                self._keep(line)
            return None
        code, separator, text = found.groups(b"")
        if not self._code:
            if separator != b"-":
                self._bytes = 0
                return self._single(line, code, text)
            self._texts, self.lines = [], []
        changed = bool(self._code) and code != self._code
        self._code = code
        if self._keep(text):
            self.lines.append(text)
        if separator == b"-":
            return None
        reply = _reply(code, self._texts, text if changed or code[0] in _FAILURES else b"")
        self._code, self._texts, self._bytes = b"", [], 0
        return reply

    def _single(self, line: bytes, code: bytes, text: bytes) -> Reply:
        reply = _reply(code, [text], text)
        if len(line) <= _SHORT_LINE:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[line] = reply
        return reply

    def _keep(self, text: bytes) -> bool:
        """Whether the line is kept; `_texts` holds a bounded part of a long reply."""
        texts = self._texts
        if len(texts) >= KEPT_LINES or sum(map(len, texts)) + len(text) > _KEPT_BYTES:
            return False
        texts.append(text)
        return True


class _Said(NamedTuple):
    """The replies of one segment, and the lines of the last one that has several; None = none has."""

    replies: list[Reply]
    lines: list[bytes] | None


# Segments of whole replies that are all successes, parsed once for all connections: most hosts use the same words. A
# failure is an object of its own for each connection, since those that hear of failures count objects.
_successes: dict[bytes, _Said] = {}


def _keep_successes(data: bytes, said: _Said) -> None:
    if all(reply.code < _FIRST_FAILURE for reply in said.replies):
        if len(_successes) >= _MOST_SUCCESSES:
            _successes.clear()
        _successes[data] = said


def _reply(code: bytes, lines: list[bytes], last: bytes) -> Reply:
    """One reply of its lines; the enhanced code counts only when its class is the code's, and is then taken out. It is
    looked for in `last` first, then in the first line. Some servers write the code of a failure behind other
    words, as in `550 Invalid recipient (#5.1.1)`: it counts, and the text keeps it."""
    texts = [_text(line) for line in lines]
    enhanced = "" if len(texts) == 1 else _enhanced(code, _text(last))
    enhanced = enhanced or (_enhanced(code, texts[0]) if texts else "")
    if enhanced:
        texts = [text[len(enhanced) :].lstrip(" ") if text.startswith(enhanced) else text for text in texts]
    whole = " ".join(text for text in texts if text)[:KEPT_TEXT]
    if not enhanced and code[0] in _FAILURES:
        enhanced = _enhanced_within(code, whole)
    return Reply(int(code), enhanced, whole)


def _enhanced(code: bytes, text: str) -> str:
    found = _ENHANCED.match(text)
    return found[1] if found is not None and found[1][0] == chr(code[0]) else ""


def _enhanced_within(code: bytes, text: str) -> str:
    found = _ENHANCED_WITHIN.search(text[:_LOOKED_AT])
    return found[1] if found is not None and found[1][0] == chr(code[0]) else ""


def _no_reply(line: bytes) -> str:
    return f"the server's answer is no SMTP reply: {_text(line[:_SHOWN])}"


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "backslashreplace")
