"""The API process."""

import asyncio
import dataclasses
import resource

from control_api.app import create_app
from control_api.catalogue import Catalogue
from control_api.dependencies import Dependencies
from control_api.http.connections import Connections, most_connections
from control_api.http.serving import Serving
from control_api.http.turns import Turns
from control_api.http.waiting import Waiting
from control_api.nearest_tags import NearestTags
from control_api.pool_depths import MeasuredDepths
from mta.model.settings import Settings
from mta.policy.shaping import Shaping
from mta.runtime.child import Child
from mta.runtime.sockets import inject_socket
from mta.runtime.wiring.api import ApiParts, open_api

_PATIENCE = 0.5  # seconds until a store that does not answer is taken to be away


async def main(child: Child) -> None:
    settings, sockets = child.settings, child.listeners()
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = most_connections(descriptors)
    async with Waiting(sockets, Connections(most)) as waiting:
        parts = await open_api(child, waiting.because)
    depths = MeasuredDepths(parts.books.depths)
    serving = Serving(create_app(_dependencies(settings, parts, depths)), Connections(most))
    await serving.start(sockets)
    canary = child.essential(asyncio.create_task(parts.canary.run(), name="canary"))
    child.ready()
    await child.stopping.wait()
    parts.canary.stop()
    await serving.stop()
    await asyncio.gather(canary, return_exceptions=True)
    await depths.stop()
    await parts.close()


def _dependencies(settings: Settings, parts: ApiParts, depths: MeasuredDepths) -> Dependencies:
    """Parts that handlers may touch have the same name there."""

    async def health() -> str:
        trouble = await parts.probe.ask(_PATIENCE)
        if trouble is not None:
            return trouble.reason
        return "no space left in the data folder or that of the log" if parts.room.look() is not None else ""

    catalogue = Catalogue(parts.rules, settings.node.name, settings.rules.protected_tags)
    given = {field.name for field in dataclasses.fields(Dependencies)} & set(ApiParts._fields) - {"queue_work"}
    return Dependencies(
        **{name: getattr(parts, name) for name in given},
        catalogue=catalogue,
        queue_work=parts.queue_work(catalogue.table),
        depths=depths,
        nearest_tags=NearestTags(parts.books.tags_lately),
        shaping=Shaping(settings),
        turns=Turns(),
        retention=settings.status.retention,
        idempotency_memory=settings.messages.idempotency_memory,
        node=settings.node.name,
        api=settings.api,
        health=health,
        workers=settings.node.workers if "delivery" in settings.node.roles else 0,
        own_pools=settings.pools,
        tracks=settings.tracks,
        protected_tags=settings.rules.protected_tags,
        own_replies=settings.replies,
        reactions=settings.reactions,
        inject_socket=inject_socket(settings),
    )
