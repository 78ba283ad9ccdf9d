"""The adapters by which a process finds out about the domains that mail goes to."""

from typing import NamedTuple

from mta.dns.resolver import DnsResolver
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


def destinations_of(settings: Settings, notes: SiteNotes) -> Destinations:
    resolver = DnsResolver(settings.delivery.dns_servers)
    return Destinations(resolver, KnownSites(site_table(settings), resolver, notes))
