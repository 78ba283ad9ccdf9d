"""The site of a domain: the provider that takes its mail, with whom its limits are shared."""

from collections.abc import Callable, Iterable, Mapping
from typing import Generic, TypeVar

from mta.model.settings import DeliverySettings, SiteSettings
from mta.model.units import parse_address
from mta.policy.mx import is_address, next_hop

T = TypeVar("T")


class NamePatterns(Generic[T]):
    """Values by host or domain name: the exact name first, then the longest "*.parent"."""

    def __init__(self, items: Iterable[tuple[str, T]]) -> None:
        """Names in lower case."""
        self._items = dict(items)
        self._has_parents = any(name.startswith("*.") for name in self._items)

    def __bool__(self) -> bool:
        return bool(self._items)

    def find(self, name: str) -> T | None:
        found, parent = self._items.get(name), name
        while found is None and self._has_parents and "." in parent:
            parent = parent.partition(".")[2]
            found = self._items.get(f"*.{parent}")
        return found


class SiteTable:
    """Decides the site of domains and hosts by the settings. A site that no setting names has the name of its MX host's
    organisational domain."""

    def __init__(
        self,
        sites: Mapping[str, SiteSettings],
        delivery: DeliverySettings,
        organisation: Callable[[str], str],
    ) -> None:
        """`organisation` gives the organisational domain of a host name."""
        self._by_domain = NamePatterns((domain, name) for name, site in sites.items() for domain in site.domains)
        self._by_host = NamePatterns((host, name) for name, site in sites.items() for host in site.mx)
        self._delivery = delivery
        self._organisation = organisation

    def of_domain(self, domain: str) -> str | None:
        """The site, where the settings alone decide it; None: the MX hosts of the domain decide."""
        named = self._by_domain.find(domain)
        if named is not None:
            return named
        if domain.startswith("["):
            return domain
        route = next_hop(domain, self._delivery)
        return self.of_host(domain, parse_address(route, "delivery.route").host) if route else None

    def of_target(self, domain: str, host: str) -> str:
        """The site that mail of the domain reaches at this host."""
        return self._by_domain.find(domain) or self.of_host(domain, host)

    def of_host(self, domain: str, host: str) -> str:
        """The site of a host that takes mail of the domain. A host without a name is a site of the domain alone."""
        if is_address(host):
            return domain
        host = host.lower().rstrip(".")
        return self._by_host.find(host) or self._organisation(host) or domain
