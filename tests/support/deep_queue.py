"""Fills a queue through the store's own accept step, so that it is deep within seconds."""

import asyncio
from typing import Any

from mta.model.settings import RedisSettings
from mta.redis_store import keys
from mta.redis_store.cluster_settings import ClusterSettings
from mta.redis_store.link import Link
from tests.support.stores import Store, message

_AT_ONCE = 100  # messages in a step


def fill(url: str, domain: str, count: int, tag: str, **fields: Any) -> None:
    """So many messages of one recipient each are queued at `domain`, due now, in all lanes alike."""
    asyncio.run(_fill(url, domain, count, tag, fields))


async def _fill(url: str, domain: str, count: int, tag: str, fields: dict[str, Any]) -> None:
    link = Link(url, RedisSettings(timeout=10.0))
    try:
        await link.open()
        cluster = ClusterSettings(link)
        await cluster.open(float(await link.command("HGET", keys.META_SETTINGS, "max_staleness")))
        store = Store(link, "fill", cluster, backlog_hard=0, timeout=10.0)
        batches = range(0, count, _AT_ONCE)

        async def lane_of(lane: int) -> None:
            for at in batches[lane :: store.lanes]:
                to = [f"m{number}@{domain}" for number in range(at, min(at + _AT_ONCE, count))]
                some = [message(lane, to=(address,), tags=(tag,), **fields) for address in to]
                await store.queues.accept(lane, some)

        await asyncio.gather(*map(lane_of, range(store.lanes)))
    finally:
        await link.close()
