"""The adapters by which a worker gets MTA-STS policies; the HTTP client is imported with the first policy."""

import asyncio
import importlib
from typing import Final

from mta.egress.sts_policies import StsParts
from mta.model.settings import DeliverySettings, Settings
from mta.ports.delivery import Resolver
from mta.ports.mta_sts import Fetched, StsFetcher
from mta.redis_store.link import Link
from mta.redis_store.sts_store import StoredStsPolicies

_CLIENT: Final = "mta.http_out.sts_fetch"


def sts_parts(settings: Settings, resolver: Resolver, link: Link) -> StsParts | None:
    """None: the settings switch policies off."""
    if not settings.delivery.mta_sts:
        return None
    return StsParts(StoredStsPolicies(link), _LateFetcher(resolver, settings.delivery))


class _LateFetcher:
    """Fulfils ports.mta_sts.StsFetcher; most workers never fetch a policy and never load the client."""

    def __init__(self, resolver: Resolver, delivery: DeliverySettings) -> None:
        self._resolver = resolver
        self._delivery = delivery
        self._fetcher: StsFetcher | None = None

    async def fetch(self, domain: str) -> Fetched:
        if self._fetcher is None:
            client = await asyncio.to_thread(importlib.import_module, _CLIENT)
            self._fetcher = self._fetcher or client.StsHosts(
                self._resolver, self._delivery.mta_sts_port, self._delivery.ca_file
            )
        return await self._fetcher.fetch(domain)

    async def close(self) -> None:
        if self._fetcher is not None:
            await self._fetcher.close()
