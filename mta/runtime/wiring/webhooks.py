"""The parts of the webhooks process, and the orders about endpoints that the API takes."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from mta.model.settings import Settings
from mta.ports.webhooks import Poster, WebhookState
from mta.redis_store.webhook_store import StoredEndpoints
from mta.runtime.child import Child
from mta.runtime.wiring.history import open_history
from mta.runtime.wiring.opening import OpenStore, open_store, patiently
from mta.runtime.wiring.secrets import cluster_sealer
from mta.webhooks.endpoint_book import EndpointBook
from mta.webhooks.webhooks import Webhooks


class WebhookParts(NamedTuple):
    """Nothing of it is started."""

    webhooks: Webhooks
    listen: Callable[[], asyncio.Task[None]]
    close: Callable[[], Awaitable[None]]


async def open_webhooks(child: Child) -> WebhookParts:
    """Raises SettingsError."""
    settings = child.settings
    store = await open_store(settings, child.boot.redis_url, "webhooks", ("webhooks",), child.stopping)
    history = await patiently(lambda: open_history(settings, store), child.stopping)
    poster, state = _poster(settings), _state(settings)
    webhooks = Webhooks(
        StoredEndpoints(store.link), state, history, poster, cluster_sealer(store, settings), settings.node.name
    )

    async def close() -> None:
        await poster.close()
        await history.close()
        await asyncio.to_thread(state.close)
        await store.link.close()

    return WebhookParts(webhooks, store.link.listen, close)


def endpoint_book(store: OpenStore, settings: Settings) -> EndpointBook:
    return EndpointBook(
        StoredEndpoints(store.link),
        cluster_sealer(store, settings),
        lambda: _poster(settings),
        allow_networks=settings.webhooks.allow_networks,
        keeps_history=bool(settings.history.url),
    )


def _poster(settings: Settings) -> Poster:
    """The client is imported where a request is to be sent."""
    from mta.http_out.webhook_post import WebhookPoster

    webhooks = settings.webhooks
    return WebhookPoster(webhooks.allow_networks, webhooks.timeout, settings.delivery.dns_servers)


def _state(settings: Settings) -> WebhookState:
    """Beside the history."""
    from mta.history import webhook_tables

    url = settings.history.url
    if url == "sqlite":
        return webhook_tables.sqlite_state(f"{settings.node.data_dir}/webhooks")
    return webhook_tables.postgres_state(url)
