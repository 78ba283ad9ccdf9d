"""Addresses in the form in which rules compare them, and the labels that stand for the addresses of a delivery."""

import functools
import re
from typing import Final

from mta.model.errors import BadValue
from mta.model.text import composed
from mta.policy.routing import queue_domain

ANY_AT = "*@"  # before a domain: every address there

# No tag and no tenant begins with these.
_SENDER = "\x01"
_RECIPIENT = "\x02"

_ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)
_NEEDS_ESCAPE: Final = re.compile(r'(["\\])')
_NEEDS_NO_QUOTES: Final = re.compile(r"(?!\*$)[^\x00- \"(),:;<>@\[\\\]\x7f]+")  # `*` would stand for all of a domain


@functools.lru_cache(maxsize=16384)
def comparable(address: str) -> str:
    """Lower case and NFC, the local part without quotes that it does not need, the domain in A-labels. Rules compare
    local parts without case, as people write them."""
    local, at, domain = address.rpartition("@")
    try:
        domain = queue_domain(domain) if at else domain
    except BadValue:
        domain = domain.lower()  # of a sender whose domain is no name of the DNS
    if local[:1] == '"':
        local = _unquoted(local)
    return f"{composed(local).lower()}{at}{domain}"


def _unquoted(local: str) -> str:
    """The mailbox that a quoted local part names, with as few quotes and backslashes as it needs (RFC 5321 4.1.2)."""
    name = _ESCAPED.sub(r"\1", local[1:-1])
    if _NEEDS_NO_QUOTES.fullmatch(name):
        return name
    return '"' + _NEEDS_ESCAPE.sub(r"\\\1", name) + '"'


def sender_mark(sender: str) -> str:
    """The label of mail from an address, or from `*@domain`, in comparable form."""
    return _SENDER + sender


def recipient_mark(recipient: str) -> str:
    """The label of mail to an address in comparable form."""
    return _RECIPIENT + recipient


def domain_of(address: str) -> str:
    """The part behind the last `@`."""
    return address.rpartition("@")[2]


@functools.lru_cache(maxsize=16384)
def address_marks(sender: str, recipient: str) -> tuple[str, str, str]:
    """The labels of a delivery by its envelope."""
    known = comparable(sender)
    return sender_mark(known), sender_mark(ANY_AT + domain_of(known)), recipient_mark(comparable(recipient))
