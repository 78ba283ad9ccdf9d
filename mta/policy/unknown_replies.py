"""Replies that no entry knows, with the parts left out that differ from one reply to the next."""

import re
from typing import Final

from mta.model.outcomes import Reply
from mta.model.replies import UnknownReply

_TEXT_AT_MOST: Final = 200  # characters that two replies must have in common


_PARTS: Final = (
    (re.compile(r"https?://\S+"), "<url>"),
    (re.compile(r"<?[^\s<>@\"']+@[^\s<>@\"'()\[\],;]+>?"), "<address>"),
    (re.compile(r"\[?\b\d{1,3}(?:\.\d{1,3}){3}\b\]?"), "<ip>"),
    (re.compile(r"\[?\b[0-9a-f]{1,4}(?::[0-9a-f]{0,4}){3,7}\b\]?"), "<ip>"),
    (re.compile(r"\b(?=[0-9a-z._-]*\d)[0-9a-z_-]+(?:\.[0-9a-z_-]+){2,}\b"), "<host>"),
    (re.compile(r"\b(?=[a-z_-]*\d)(?=\d*[a-z_-])[0-9a-z_-]{6,}\b"), "<id>"),
    (re.compile(r"\d+"), "#"),
    (re.compile(r"\s+"), " "),
)
_SECOND_LEVEL: Final = re.compile(r"(?:ac|co|com|edu|gov|ne|net|or|org)")  # as in co.uk


def unknown_reply(reply: Reply, host: str) -> UnknownReply:
    """The reply of this host as it is counted."""
    return UnknownReply(provider_of(host), reply.code, reply.enhanced, normalized(reply.text))


def normalized(text: str) -> str:
    """The text in lower case, with addresses, numbers and ids replaced by placeholders."""
    text = text[: 4 * _TEXT_AT_MOST].lower()
    for pattern, placeholder in _PARTS:
        text = pattern.sub(placeholder, text)
    return text.strip()[:_TEXT_AT_MOST]


def provider_of(host: str) -> str:
    """The last labels of a host name; an address stands for itself."""
    labels = host.lower().rstrip(".").split(".")
    if ":" in host or labels[-1].isdigit():
        return host
    short = len(labels) > 2 and len(labels[-1]) == 2 and _SECOND_LEVEL.fullmatch(labels[-2])
    return ".".join(labels[-3:] if short else labels[-2:])
