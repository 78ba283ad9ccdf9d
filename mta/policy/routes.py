"""The routes of a domain's mail, in the order to try them: its MX, a relay, or a fixed host (`delivery.routes`)."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from mta.model.destination_settings import RelaySettings
from mta.model.errors import BadValue
from mta.model.events import BY_MX
from mta.model.settings import Address, DeliverySettings
from mta.model.units import parse_address
from mta.policy.name_patterns import NamePatterns

RELAY: Final = "relay:"  # begins the word for a relay, which has its name in [relays]


class Route(NamedTuple):
    """One way for mail to leave."""

    name: str  # as in the log: "mx", "relay:NAME" or "host:port"
    address: Address | None = None  # the next hop; None = the hosts that DNS names
    relay: str = ""  # the name in [relays]; "" = no relay


MX: Final = Route(BY_MX)


class Routes:
    """The routes of each domain, by the settings; the words are read once."""

    def __init__(self, delivery: DeliverySettings, relays: Mapping[str, RelaySettings]) -> None:
        """The settings were checked. Raises BadValue."""
        self._default = (route_of(delivery.route, relays),)
        self._by_domain = NamePatterns(
            (domain, tuple(route_of(word, relays) for word in words)) for domain, words in delivery.routes.items()
        )

    def of(self, domain: str) -> tuple[Route, ...]:
        """Those of the exact domain, then of the longest `*.parent`, then the general one."""
        return self._by_domain.find(domain) or self._default


def route_of(word: str, relays: Mapping[str, RelaySettings], field: str = "delivery.route") -> Route:
    """The route that a setting names: "mx" (or ""), "relay:NAME" or "host:port". Raises BadValue."""
    if word in ("", BY_MX):
        return MX
    if not word.startswith(RELAY):
        return Route(word, parse_address(word, field))
    name = word[len(RELAY) :]
    settings = relays.get(name)
    if settings is None:
        known = ", ".join(relays)
        fix = f"[relays] has {known}" if known else f"add [relays.{name or 'NAME'}]"
        raise BadValue(field, f"{word!r} names no relay; {fix}")
    return Route(word, Address(settings.host, settings.port), name)
