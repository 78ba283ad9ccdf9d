"""The process that hears of opens and clicks."""

import asyncio
import logging
import resource
from typing import Final
from urllib.parse import urlsplit

from control_api.http.connections import Connections, most_connections
from control_api.http.serving import Serving
from control_api.tracking.app import Listener
from control_api.tracking.unsubscribing import Unsubscribing
from control_api.tracking.visits import Visits
from mta.content.tracking_links import TrackingLinks
from mta.model.errors import SealError, StoreError
from mta.ports.tracking import TrackingKeys
from mta.runtime.child import Child
from mta.runtime.wiring.tracking import open_tracking

_AGAIN: Final = 1.0  # seconds between two tries to open the key

_log = logging.getLogger(__name__)


async def main(child: Child) -> None:
    settings = child.settings
    parts = await open_tracking(child)
    key = await _key(parts.keys, child)
    if key is not None:
        links = TrackingLinks(key, settings.tracking.url)
        visits = Visits(parts.store, settings.node.name)
        listener = Listener(links, visits, settings.tracking.trusted_proxies)
        descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        path = urlsplit(settings.tracking.url).path
        auto = "unsubscribe" in settings.suppressions.auto
        suppressions = parts.suppressions if auto else None
        unsubscribing = Unsubscribing(links, parts.store, suppressions, settings.node.name, listener.address)
        serving = Serving(listener.app(path, unsubscribing), Connections(most_connections(descriptors)))
        await serving.start(child.listeners())
        stopped = asyncio.Event()
        writing = child.essential(asyncio.create_task(visits.write_until(stopped), name="visits"))
        child.ready()
        await child.stopping.wait()
        await serving.stop()
        stopped.set()
        await asyncio.gather(writing, return_exceptions=True)
    await parts.close()


async def _key(keys: TrackingKeys, child: Child) -> bytes | None:
    """Waits until the key of the links can be opened; None: told to stop. The reason is logged once, and the start of
    the node does not wait for it."""
    told = ""
    while not child.stopping.is_set():
        try:
            return await keys.key()
        except (SealError, StoreError) as error:
            if not told:
                child.ready()
            if str(error) != told:
                told = str(error)
                _log.error("no open or click is heard of: %s", error)
            await asyncio.sleep(_AGAIN)
    return None
