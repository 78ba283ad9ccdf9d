"""The adapters by which a process knows the sites of domains."""

from mta.dns.organisations import organisational_domain
from mta.model.settings import Settings
from mta.policy.routes import Routes
from mta.policy.sites import SiteTable
from mta.redis_store.site_notes import NotedSites, StoredSiteNotes
from mta.runtime.wiring.opening import OpenStore


def site_table(settings: Settings) -> SiteTable:
    routes = Routes(settings.delivery, settings.relays)
    return SiteTable(settings.sites, routes, organisational_domain, settings.messages.simulate_domain)


def noted_sites(store: OpenStore, settings: Settings) -> NotedSites:
    """For a process that does not deliver."""
    return NotedSites(site_table(settings), StoredSiteNotes(store.link))
