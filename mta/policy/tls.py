"""The TLS that a connection needs, by the settings of the route, the domain and the node."""

import enum
from typing import Final, NamedTuple

from mta.model.settings import Settings
from mta.policy.name_patterns import NamePatterns
from mta.policy.routes import Route

IMPLICIT_PORT: Final = 465  # TLS from the first byte (RFC 8314)


class TlsLevel(enum.StrEnum):
    """The least that a connection must have before mail goes over it."""

    NONE = "none"  # clear text only
    OPPORTUNISTIC = "opportunistic"  # TLS where it works, else clear text
    REQUIRED = "required"  # TLS, whatever the certificate says
    VERIFIED = "verified"  # TLS, with a certificate that names the host and that an authority vouches for


class TlsNeed(NamedTuple):
    """The TLS of one connection."""

    level: TlsLevel
    ca_file: str = ""  # PEM file of the authorities; "" = the system's

    @property
    def may_be_clear(self) -> bool:
        """Whether mail may go in clear text where TLS does not come about."""
        return self.level in (TlsLevel.NONE, TlsLevel.OPPORTUNISTIC)


class TlsNeeds:
    """The need of each domain and route, made once from the settings."""

    def __init__(self, settings: Settings) -> None:
        ca_file = settings.delivery.ca_file
        self._default = TlsNeed(TlsLevel(settings.delivery.tls), ca_file)
        self._by_domain = NamePatterns(
            (domain, TlsNeed(TlsLevel(limits.tls), ca_file))
            for domain, limits in settings.domains.items()
            if limits.tls
        )
        self._by_site = {
            name: TlsNeed(TlsLevel(site.tls), ca_file) for name, site in settings.sites.items() if site.tls
        }
        self._by_relay = {
            name: TlsNeed(TlsLevel(relay.tls), relay.ca_file or ca_file) for name, relay in settings.relays.items()
        }

    def of(self, domain: str, site: str, route: Route) -> TlsNeed:
        """A relay has its own; else that of the domain, of its longest `*.parent`, of the site or of the node."""
        if route.relay:
            return self._by_relay[route.relay]
        return self._by_domain.find(domain) or self._by_site.get(site) or self._default
