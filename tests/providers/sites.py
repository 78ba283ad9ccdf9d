"""Twelve sites that answer as providers do: their part of the mail, their limits, and the end of each mail."""

from collections.abc import Iterator
from typing import NamedTuple

DELIVERED, BOUNCED, EXPIRED = "delivered", "bounced", "expired"
UNKNOWN_ONE_IN = 5  # of the addresses that `users` does not know
PLAIN = "plain"  # the site whose rate is compared


class Site(NamedTuple):
    """One site. `kind` is its behaviour (`tests.providers.peer`), `share` its part of 200 domains."""

    name: str
    kind: str
    share: int
    limits: str = ""  # keys of its [sites] table
    connections: int = 0  # most at once, 0 = no limit
    messages_per_minute: int = 0
    messages_per_connection: int = 0


SITES: tuple[Site, ...] = (
    Site(PLAIN, "accepts", 60, "connections = 20", connections=20),
    Site("paced", "accepts", 14, "messages_per_minute = {paced}", messages_per_minute=1),
    Site(
        "short", "accepts", 40, "connections = 10, messages_per_connection = 20",
        connections=10, messages_per_connection=20,
    ),
    Site("rate", "too-fast", 14, "connections = 20", connections=20),
    Site("crowded", "too-many-connections", 14, "connections = 12", connections=12),
    Site("grey", "greylists", 14),
    Site("block", "blocks", 12, 'retries = "{wait}s", max_age = "{age}s"'),
    Site("users", "unknown-users", 16),
    Site("sick", "fails-at-the-dot", 10, "connections = 16", connections=16),
    Site("tarpit", "tarpit", 2, "connections = 40", connections=40),
    Site("dead", "dead", 2, 'max_age = "{age}s"'),
    Site("stall", "stalls", 2, 'max_age = "{age}s"'),
)  # fmt: skip
assert sum(site.share for site in SITES) == 200


def address_of(number: int) -> str:
    """The address of the host of a site, by its place in `SITES`."""
    return f"127.2.0.{number + 1}"


def site_of(domain: int) -> Site:
    """The site that takes the mail of a domain, by its number: the sites are spread evenly over the numbers."""
    return _SPREAD[domain % len(_SPREAD)]


def end_of(site: Site, message: int) -> str:
    """How the delivery to the recipient with the number of its message ends."""
    if site.kind == "unknown-users" and is_unknown(message):
        return BOUNCED
    return EXPIRED if site.kind in ("blocks", "dead", "stalls") else DELIVERED


def is_unknown(message: int) -> bool:
    return message // len(_SPREAD) % UNKNOWN_ONE_IN == 0


def settings(age: int, paced: int) -> str:
    """The value of the setting `sites`: mail of `dead` and `stall` expires after `age` seconds."""
    tables = [
        f'{site.name} = {{ mx = "mx.{site.name}.test"{", " + limits if limits else ""} }}'
        for site in SITES
        for limits in [site.limits.format(age=age, wait=max(2, age // 2), paced=paced)]
    ]
    return "{ " + ", ".join(tables) + " }"


def _spread() -> Iterator[Site]:
    """Each site as often as its share, with the same gap between."""
    places = sorted(((at + 0.5) / site.share, number) for number, site in enumerate(SITES) for at in range(site.share))
    return (SITES[number] for _, number in places)


_SPREAD = list(_spread())
