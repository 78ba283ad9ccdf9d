"""The adapters by which a process finds out about the domains that mail goes to."""

from typing import NamedTuple

from mta.dns.resolver import DnsResolver
from mta.dns.shared_answers import SharedAnswers
from mta.model.settings import Settings
from mta.ports.sites import SiteNotes
from mta.runtime.wiring.sites import site_table
from mta.scheduling.known_sites import KnownSites


class Destinations(NamedTuple):
    """Their DNS, and their sites."""

    resolver: DnsResolver
    sites: KnownSites

    async def close(self) -> None:
        await self.sites.close()
        await self.resolver.close()


def destinations_of(settings: Settings, notes: SiteNotes, shared: SharedAnswers | None = None) -> Destinations:
    """`shared`: the answers of DNS that several processes have in common."""
    resolver = DnsResolver(settings.delivery.dns_servers, shared=shared)
    return Destinations(resolver, KnownSites(site_table(settings), resolver, notes))
