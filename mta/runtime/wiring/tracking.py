"""The parts of the process that hears of opens and clicks."""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from mta.ports.suppressions import SuppressionStore
from mta.ports.tracking import EngagementStore, TrackingKeys
from mta.redis_store.suppression_store import StoredSuppressions
from mta.redis_store.tracking_store import StoredEngagement, StoredTrackingKey
from mta.runtime.child import Child
from mta.runtime.wiring.opening import open_store
from mta.runtime.wiring.secrets import cluster_sealer


class TrackingParts(NamedTuple):
    """The store is open."""

    keys: TrackingKeys
    store: EngagementStore
    suppressions: SuppressionStore
    close: Callable[[], Awaitable[None]]


async def open_tracking(child: Child) -> TrackingParts:
    """Waits for the store. Raises SettingsError."""
    store = await open_store(child.settings, child.boot.redis_url, "tracking", (), child.stopping)
    keys = StoredTrackingKey(store.link, cluster_sealer(store, child.settings))
    return TrackingParts(keys, StoredEngagement(store.link), StoredSuppressions(store.link), store.close)
