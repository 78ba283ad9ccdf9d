"""The route of a new message: queue domains, pool, due time and expiry; or the reply that refuses it."""

import functools
import ipaddress
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import idna
import msgspec

from mta.model.errors import BadValue
from mta.model.injection import Injection
from mta.model.mail import Recipient
from mta.model.outcomes import Reply
from mta.model.units import LAST_MS
from mta.policy.sending_window import opens_at


class Route(msgspec.Struct, frozen=True, gc=False):
    """The parts of a NewMessage that routing decides; times are Unix milliseconds."""

    recipients: tuple[Recipient, ...]
    pool: str
    due_at: int
    expires_at: int
    max_attempts: int


class RoutingDefaults(NamedTuple):
    """The values for messages that do not ask for others."""

    pool: str  # smtp.default_pool
    max_age: float  # delivery.max_age, seconds from acceptance or from the scheduled time
    max_attempts: int  # delivery.max_attempts


# As Recipient(*pair), in a third of the time.
_recipient: Final[Callable[[tuple[str, str]], Recipient]] = functools.partial(tuple.__new__, Recipient)


def route(addresses: Sequence[str], injection: Injection, defaults: RoutingDefaults, now_ms: int) -> Route | Reply:
    """`now_ms` is when the message is accepted; a Reply is the refusal."""
    try:
        recipients = tuple([_recipient((address, queue_domain(address.rpartition("@")[2]))) for address in addresses])
    except BadValue as bad:
        return Reply(550, "5.1.2", str(bad))
    due_at = now_ms if injection.due_at is None else max(now_ms, injection.due_at)
    if injection.window is not None:
        due_at = opens_at(injection.window, due_at)
    expires_at = injection.expires_at
    if expires_at is None:
        max_age = defaults.max_age if injection.max_age is None else injection.max_age
        expires_at = min(due_at + int(max_age * 1000), LAST_MS)
    elif expires_at <= due_at:
        moment = "now" if due_at == now_ms else "the time at which the message is to be sent"
        return Reply(550, "5.6.0", f"X-MQ-MaxDeliverTime: is not later than {moment}")
    max_attempts = defaults.max_attempts if injection.max_attempts is None else injection.max_attempts
    return Route(recipients, injection.pool or defaults.pool, due_at, expires_at, max_attempts)


@functools.lru_cache(maxsize=16384)
def queue_domain(domain: str) -> str:
    """The name of the domain's queue: lower-case A-labels (UTS 46), address literals as they are. Raises BadValue."""
    if domain.startswith("["):
        return _literal(domain)
    name = domain.rstrip(".")
    if not name.isascii() and len(name) <= 253:  # longer ones are refused below: IDNA takes time by the square of it
        try:
            name = idna.encode(name, uts46=True).decode("ascii")
        except (idna.IDNAError, UnicodeError):
            raise BadValue("domain", "is not a domain name (IDNA)") from None
    if not name or len(name) > 253:
        raise BadValue("domain", "a domain name has 1 to 253 octets")
    return name.lower()


def _literal(domain: str) -> str:
    inner = domain[1:-1]
    try:
        if inner[:5].lower() == "ipv6:":
            return f"[IPv6:{ipaddress.IPv6Address(inner[5:]).compressed}]"
        return f"[{ipaddress.IPv4Address(inner)}]"
    except ValueError:
        raise BadValue("domain", "the address literal is malformed") from None
