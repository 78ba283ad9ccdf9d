"""The site of a domain: the provider that takes its mail, with whom its limits are shared."""

from collections.abc import Callable, Mapping

from mta.model.destination_settings import SiteSettings
from mta.policy.mx import is_address
from mta.policy.name_patterns import NamePatterns
from mta.policy.routes import Routes


class SiteTable:
    """Decides the site of domains and hosts by the settings. A site that no setting names has the name of its MX host's
    organisational domain."""

    def __init__(
        self,
        sites: Mapping[str, SiteSettings],
        routes: Routes,
        organisation: Callable[[str], str],
        simulate_domain: str = "",
    ) -> None:
        """`organisation` gives the organisational domain of a host name. `simulate_domain`, "" = none, has no hosts."""
        self._simulate_domain = simulate_domain
        self._by_domain = NamePatterns((domain, name) for name, site in sites.items() for domain in site.domains)
        self._by_host = NamePatterns((host, name) for name, site in sites.items() for host in site.mx)
        self._routes = routes
        self._organisation = organisation

    def of_domain(self, domain: str) -> str | None:
        """The site, where the settings alone decide it; None: the MX hosts of the domain decide."""
        named = self._by_domain.find(domain)
        if named is not None:
            return named
        if domain.startswith("[") or domain == self._simulate_domain:
            return domain
        address = self._routes.of(domain)[0].address
        return self.of_host(domain, address.host) if address is not None else None

    def of_target(self, domain: str, host: str) -> str:
        """The site that mail of the domain reaches at this host."""
        return self._by_domain.find(domain) or self.of_host(domain, host)

    def of_host(self, domain: str, host: str) -> str:
        """The site of a host that takes mail of the domain. A host without a name that can be written is a site of
        the domain alone."""
        if is_address(host) or not host.isascii():
            return domain
        host = host.lower().rstrip(".")
        return self._by_host.find(host) or self._organisation(host) or domain
