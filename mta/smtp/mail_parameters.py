"""The parameters of MAIL: SIZE (RFC 1870), BODY (RFC 6152), HOLDFOR and HOLDUNTIL (RFC 4865), and nothing else."""

from typing import Final, NamedTuple

from mta.model.errors import BadValue
from mta.model.injection import Hold
from mta.model.units import LONGEST_DURATION, parse_time
from mta.smtp import replies
from mta.smtp.grammar import parse_parameters

_KNOWN: Final = frozenset(("SIZE", "BODY", "HOLDFOR", "HOLDUNTIL"))
_UNKNOWN: Final = b"555 5.5.4 parameter not recognized\r\n"
_HOLD_DIGITS: Final = 9  # RFC 4865 4


class MailParameters(NamedTuple):
    """Their values, where they are given."""

    body: str = ""  # in upper case
    hold: Hold | None = None


NONE_GIVEN: Final = MailParameters()


def read_mail_parameters(text: str, esmtp: bool, max_size: int) -> MailParameters | bytes:
    """The reply refuses them."""
    if not esmtp:
        return b"555 5.5.4 parameters need EHLO\r\n"
    try:
        parameters = parse_parameters(text)
    except BadValue as bad:
        return f"501 5.5.4 {bad}\r\n".encode()
    if not parameters.keys() <= _KNOWN:
        return _UNKNOWN
    size = parameters.get("SIZE")
    if size is not None:
        if not size.isdigit() or len(size) > 20:  # RFC 1870 section 5
            return b"501 5.5.4 SIZE takes a number of octets\r\n"
        if int(size) > max_size:
            return replies.TOO_LARGE
    body = parameters.get("BODY", "").upper()
    if body not in ("7BIT", "8BITMIME") and "BODY" in parameters:
        return b"501 5.5.4 BODY takes 7BIT or 8BITMIME\r\n"
    try:
        return MailParameters(body, _hold(parameters.get("HOLDFOR"), parameters.get("HOLDUNTIL")))
    except BadValue as bad:
        return f"501 5.5.4 {bad}\r\n".encode()


def _hold(seconds: str | None, until: str | None) -> Hold | None:
    """Raises BadValue."""
    if seconds is not None:
        if until is not None:
            raise BadValue("HOLDFOR", "cannot be combined with HOLDUNTIL")
        if not seconds.isdigit() or len(seconds) > _HOLD_DIGITS or not 1 <= int(seconds) <= LONGEST_DURATION:
            raise BadValue("HOLDFOR", f"takes a number of seconds, 1 to {LONGEST_DURATION}")
        return Hold("HOLDFOR", seconds=int(seconds))
    if until is None:
        return None
    if until.startswith("+"):
        raise BadValue("HOLDUNTIL", "takes a time of RFC 3339 with its zone, such as 2026-01-31T12:00:00Z")
    return Hold("HOLDUNTIL", until=parse_time(until, "HOLDUNTIL", 0))
