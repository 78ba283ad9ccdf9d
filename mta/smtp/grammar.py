"""The grammar of SMTP's arguments: paths, mailboxes, address literals, parameters (RFC 5321 4.1.2).

Every parser raises BadValue and nothing else. Looser than the RFC where mail in the wild needs it: dots anywhere in a
local part, local parts over 64 octets (the path's 256 bound them), underscores in domains, blanks after the colon.
"""

import ipaddress
import re

from mta.model.errors import BadValue

MAX_PATH = 256  # octets with the angle brackets, RFC 5321 4.5.3.1.3
MAX_DOMAIN = 255  # RFC 5321 4.5.3.1.2

_LABEL = r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)"
_DOMAIN = rf"{_LABEL}(?:\.{_LABEL})*"
_ATOMS = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]+"
_LOCAL = _ATOMS + r"""|"(?:[ !#-\[\]-~]|\\[ -~])*\""""
_MAILBOX = rf"(?:{_LOCAL})@(?:({_DOMAIN})|(\[[^\[\]\\\s]{{1,64}}\]))"
_MAILBOX_ALONE = re.compile(_MAILBOX)
_PATH = re.compile(rf" *<(?:@{_DOMAIN}(?:,@{_DOMAIN})*:)?({_MAILBOX})>(?: +(.*))?")
_PLAIN_PATH = re.compile(rf"<({_ATOMS}@{_DOMAIN})(?<![0-9])>".encode())
_PLAIN_ENVELOPE = re.compile(
    rf"MAIL FROM:<({_ATOMS}@{_DOMAIN})(?<![0-9])>\r\nRCPT TO:<({_ATOMS}@{_DOMAIN})(?<![0-9])>\r\nDATA\r\n".encode()
)
_BARE_PATH = re.compile(r" *<([A-Za-z]*)>(?: +(.*))?")
_NUMBER = re.compile(r"[0-9]+")
_IPV4 = re.compile(r"(?:[0-9]{1,3}\.){3}[0-9]{1,3}")
_KEYWORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*")
_VALUE = re.compile(r"[!-<>-~]+")


def plain_mailbox(path: bytes) -> str | None:
    """The mailbox of a path with nothing unusual in it or after it, as nearly all are; None: have the path parsed."""
    found = _PLAIN_PATH.fullmatch(path)
    return found[1].decode("ascii") if found is not None and len(path) <= MAX_PATH else None


def plain_envelope(octets: bytes) -> tuple[str, str] | None:
    """Sender and recipient of MAIL, RCPT and DATA that came together (RFC 2920), each with nothing unusual in it, as
    clients send nearly all of them; None: have the lines parsed one by one."""
    if len(octets) > MAX_PATH or not octets.endswith(b"DATA\r\n"):
        return None
    found = _PLAIN_ENVELOPE.fullmatch(octets)
    return None if found is None else (found[1].decode("ascii"), found[2].decode("ascii"))


def parse_sender(text: str) -> tuple[str, str]:
    """The argument of `MAIL FROM:`: the mailbox ("" for `<>`, a source route is dropped) and the parameters."""
    found = _PATH.fullmatch(text)
    if found is not None:
        return _checked(found)
    bare = _BARE_PATH.fullmatch(text)
    if bare is not None and not bare[1]:
        return "", bare[2] or ""
    raise BadValue("sender", "write <local-part@domain> or <>")


def parse_recipient(text: str) -> tuple[str, str]:
    """The argument of `RCPT TO:`: the mailbox (`postmaster` alone is one) and the parameters."""
    found = _PATH.fullmatch(text)
    if found is not None:
        return _checked(found)
    bare = _BARE_PATH.fullmatch(text)
    if bare is not None and bare[1].lower() == "postmaster":  # RFC 5321 4.5.1
        return bare[1], bare[2] or ""
    raise BadValue("recipient", "write <local-part@domain>")


def parse_mailbox(text: str, field: str) -> str:
    """A mailbox without angle brackets."""
    found = _MAILBOX_ALONE.fullmatch(text)
    if found is None:
        raise BadValue(field, "is not an address; write local-part@domain")
    _check_lengths(text, found[1], found[2], field)
    return text


def parse_parameters(text: str) -> dict[str, str]:
    """ESMTP parameters by upper-case keyword ("" where none has a value); the same one twice is taken once."""
    parameters: dict[str, str] = {}
    for word in text.split():
        keyword, equals, value = word.partition("=")
        if not _KEYWORD.fullmatch(keyword) or (equals and not _VALUE.fullmatch(value)):
            raise BadValue("parameters", "write KEYWORD or KEYWORD=value")
        keyword = keyword.upper()
        if parameters.setdefault(keyword, value) != value:
            raise BadValue("parameters", f"{keyword} is given twice")
    return parameters


def parse_literal(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """The address in `[192.0.2.1]` or `[IPv6:2001:db8::1]` (RFC 5321 4.1.3)."""
    inner = text[1:-1]
    try:
        if inner[:5].lower() == "ipv6:":
            if "%" in inner:
                raise ValueError
            return ipaddress.IPv6Address(inner[5:])
        if _IPV4.fullmatch(inner):
            return ipaddress.IPv4Address(inner)
    except ValueError:
        pass
    raise BadValue("address", "the address literal is malformed; write [192.0.2.1] or [IPv6:2001:db8::1]")


def _checked(found: re.Match[str]) -> tuple[str, str]:
    mailbox, domain, literal, rest = found.groups()
    _check_lengths(mailbox, domain, literal, "address")
    return mailbox, rest or ""


def _check_lengths(mailbox: str, domain: str | None, literal: str | None, field: str) -> None:
    if len(mailbox) > MAX_PATH - 2:
        raise BadValue(field, f"the address is longer than {MAX_PATH - 2} octets")
    if literal is not None:
        parse_literal(literal)
    elif domain is not None:
        if len(domain) > MAX_DOMAIN:
            raise BadValue(field, f"the domain is longer than {MAX_DOMAIN} octets")
        if _NUMBER.fullmatch(domain, domain.rfind(".") + 1):  # no top-level domain is one, RFC 3696 2
            raise BadValue(field, "the domain ends with a number; write an IP address as local-part@[192.0.2.1]")
