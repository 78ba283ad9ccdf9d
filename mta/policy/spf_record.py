"""SPF records, taken apart (RFC 7208 4.6, 5, 6)."""

import re
from typing import Final, NamedTuple

from mta.model.errors import BadValue

_RESULTS: Final = {"+": "pass", "-": "fail", "~": "softfail", "?": "neutral"}
_TERM: Final = re.compile(r"([+\-~?]?)(all|include|a|mx|ptr|exists)(?::([^/]*))?(/\d{1,3})?(//\d{1,3})?", re.I)
_IP_TERM: Final = re.compile(r"([+\-~?]?)(ip4|ip6):(\S+)", re.I)
_MODIFIER: Final = re.compile(r"([a-z][a-z0-9_.-]*)=(.*)", re.I)
_NEED_VALUE: Final = ("include", "exists")


class Mechanism(NamedTuple):
    """One mechanism, and the result where it matches."""

    name: str
    value: str  # "" = the domain itself; of ip4 and ip6 the network
    prefix4: int
    prefix6: int
    result: str


class SpfRecord(NamedTuple):
    """The mechanisms in order, and the domain whose record decides where none matches."""

    mechanisms: tuple[Mechanism, ...]
    redirect: str  # "" = none


def is_spf(text: str) -> bool:
    return text.lower() == "v=spf1" or text.lower().startswith("v=spf1 ")


def parse_spf(text: str) -> SpfRecord:
    """Raises BadValue: receivers will take the record as broken."""
    mechanisms, redirect = [], ""
    for term in text.split(" ")[1:]:
        if not term:
            continue
        modifier = _MODIFIER.fullmatch(term)
        if modifier is not None:
            redirect = modifier[2] if modifier[1].lower() == "redirect" else redirect
        else:
            mechanisms.append(_mechanism(term))
    return SpfRecord(tuple(mechanisms), redirect)


def _mechanism(term: str) -> Mechanism:
    if found := _IP_TERM.fullmatch(term):
        return Mechanism(found[2].lower(), found[3], 32, 128, _RESULTS[found[1] or "+"])
    found = _TERM.fullmatch(term)
    if found is None or (found[2].lower() in _NEED_VALUE and not found[3]):
        raise BadValue("spf", f"{term!r} is no term of SPF")
    four, six = int((found[4] or "/32")[1:]), int((found[5] or "//128")[2:])
    if four > 32 or six > 128:
        raise BadValue("spf", f"{term!r} has a prefix that no address has")
    return Mechanism(found[2].lower(), found[3] or "", four, six, _RESULTS[found[1] or "+"])
