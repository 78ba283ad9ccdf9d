"""The adapters of `floodgate config check`: a store that is read only."""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from mta.model.settings import RedisSettings
from mta.ports.node_names import NodeNames
from mta.redis_store.node_names import StoredNodeNames
from mta.runtime.wiring.opening import link_to


class TriedStore(NamedTuple):
    """A server that answers and is safe; nothing was changed on it."""

    names: NodeNames
    close: Callable[[], Awaitable[None]]


async def try_store(redis: RedisSettings) -> TriedStore:
    """Raises StoreAway, StoreUnsafe, SettingsError."""
    link = link_to(redis, redis.url)
    try:
        await link.reach()
        await link.check()
    except BaseException:
        await link.close()
        raise
    return TriedStore(StoredNodeNames(link), link.close)
