"""Replies of a server, cut out of the byte stream and bounded (RFC 5321 4.2, RFC 3463)."""

import re
from collections.abc import Sequence

from mta.model.outcomes import Reply

KEPT_LINES = 64
KEPT_BYTES = 8 * 1024
MOST_LINES = 1000
MOST_BYTES = 128 * 1024

_MOST_KNOWN, _SHORT_LINE, _SHORT_GROUP = 256, 64, 256

_LINE = re.compile(rb"([1-5][0-9]{2})(?:([ -])([^\r\n]*))?", re.ASCII)
_ENHANCED = re.compile(r"([245]\.[0-9]{1,3}\.[0-9]{1,3})(?: +|$)", re.ASCII)


class BadReply(Exception):
    """What came is no SMTP reply: nothing that follows on this connection can be trusted."""


class ReplyParser:
    """Feeds on bytes in any split, gives complete replies in order; keeps a bounded part of an overlong one."""

    __slots__ = ("_buffer", "_bytes", "_code", "_groups", "_known", "_lines", "_texts")

    def __init__(self) -> None:
        self._buffer = b""
        self._code = b""  # of the multi-line reply that is being read, b"" = none
        self._texts: list[bytes] = []
        self._lines = 0
        self._bytes = 0
        self._known: dict[bytes, Reply] = {}  # servers repeat themselves: short one-line replies, parsed once
        self._groups: dict[bytes, list[Reply]] = {}  # and what came in one piece, whole replies all of it

    def feed(self, data: bytes) -> Sequence[Reply]:
        """The replies that `data` completes. Raises BadReply: malformed, endless, or codes that change half-way."""
        whole = not (self._buffer or self._code)
        if whole:
            group = self._groups.get(data)
            if group is not None:
                return group
        else:
            data = self._buffer + data
        lines = data.split(b"\r\n")
        self._buffer = rest = lines.pop()
        if b"\n" in rest or len(rest) > KEPT_BYTES:
            raise BadReply("a reply line has no end" if len(rest) > KEPT_BYTES else "a reply line ends with a bare LF")
        known = self._known
        replies = []
        for line in lines:
            reply = known.get(line) if not self._code else None
            if reply is None:
                reply = self._take(line)
                if reply is None:
                    continue
            replies.append(reply)
        if whole and len(data) <= _SHORT_GROUP and not (rest or self._code):
            if len(self._groups) >= _MOST_KNOWN:
                self._groups.clear()
            self._groups[data] = replies
        return replies

    @property
    def pending(self) -> bool:
        """Whether a reply has begun that is not complete."""
        return bool(self._buffer or self._code)

    def _take(self, line: bytes) -> Reply | None:
        found = _LINE.fullmatch(line)
        if found is None:
            raise BadReply(f"not a reply: {_text(line[:80])}")
        code, separator, text = found.groups(b"")
        if not self._code and separator != b"-":
            reply = _reply(code, [text])
            if len(line) <= _SHORT_LINE:
                if len(self._known) >= _MOST_KNOWN:
                    self._known.clear()
                self._known[line] = reply
            return reply
        if self._code and code != self._code:
            raise BadReply(f"the code changes within a reply, from {self._code.decode()} to {code.decode()}")
        self._code = code
        self._lines += 1
        self._bytes += len(line)
        if self._lines > MOST_LINES or self._bytes > MOST_BYTES:
            raise BadReply("a reply has no end")
        if self._lines <= KEPT_LINES and self._bytes <= KEPT_BYTES:
            self._texts.append(text)
        if separator == b"-":
            return None
        reply = _reply(code, self._texts)
        self._code, self._texts, self._lines, self._bytes = b"", [], 0, 0
        return reply


def _reply(code: bytes, lines: list[bytes]) -> Reply:
    """One reply of its lines; the enhanced code counts only when its class is the code's, and is then taken out."""
    texts = [_text(line) for line in lines]
    found = _ENHANCED.match(texts[0]) if texts else None
    enhanced = found[1] if found and found[1][0] == chr(code[0]) else ""
    if enhanced:
        texts = [text[len(enhanced) :].lstrip(" ") if text.startswith(enhanced) else text for text in texts]
    return Reply(int(code), enhanced, " ".join(text for text in texts if text))


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "backslashreplace")
