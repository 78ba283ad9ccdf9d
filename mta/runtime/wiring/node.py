"""The adapters of the supervisor: what it may ask of the store for its whole node."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

from mta.model.settings import Settings
from mta.ports.journal import Outbox
from mta.ports.node_names import NodeNames
from mta.ports.sessions import SessionStore
from mta.ports.store_health import StoreHealth
from mta.ports.store_load import StoreLoad
from mta.redis_store.api_tokens import StoredTokens
from mta.redis_store.append_file import AppendOnlyFile
from mta.redis_store.foundation import Foundation
from mta.redis_store.load import MeasuredLoad
from mta.redis_store.node_names import StoredNodeNames
from mta.redis_store.outbox import StoredOutbox
from mta.redis_store.session_store import StoredSessions
from mta.redis_store.webhook_store import StoredEndpoints
from mta.runtime.wiring.opening import OpenStore, open_cluster, open_store

_STORE_AWAY: Final = 60.0  # seconds that a starting node waits for its store; then systemd, or a person, sees it fail


class NodeAdapters(NamedTuple):
    """Of one session, that of the supervisor."""

    health: StoreHealth
    clock: Callable[[], Awaitable[float]]  # Unix seconds by the store's clock
    write_settings: Callable[[Settings], Awaitable[None]]  # those of the cluster that the store lacks
    hold_history: Callable[[str, str], Awaitable[None]]  # name and identity of the node that has the files
    put_admin_token: Callable[[str, str], Awaitable[None]]  # of this node: node and secret
    names: NodeNames
    sessions: SessionStore
    outbox: Outbox
    foundation: Foundation
    append_file: AppendOnlyFile
    webhooks_here: Callable[[Settings], Awaitable[bool]]  # whether this node has endpoints of webhooks to serve
    load: StoreLoad
    close: Callable[[], Awaitable[None]]


async def open_node(settings: Settings, url: str, stop: asyncio.Event) -> NodeAdapters:
    """Raises SettingsError, StoreUnsafe, StoreAway: a node cannot start on this store."""
    store = await open_store(settings, url, "supervisor", (), stop, limit=_STORE_AWAY)
    return NodeAdapters(
        health=store.link,
        clock=store.cluster.clock,
        write_settings=lambda settings: open_cluster(store.cluster, settings),
        hold_history=store.cluster.hold_history,
        put_admin_token=StoredTokens(store.link).put_admin,
        names=StoredNodeNames(store.link),
        sessions=StoredSessions(store.link, store.session, store.cluster.max_staleness),
        outbox=StoredOutbox(store.link, store.lanes),
        foundation=Foundation(store.link),
        append_file=AppendOnlyFile(store.link),
        webhooks_here=lambda settings: _webhooks_here(store, settings),
        load=MeasuredLoad(store.link, store.lanes),
        close=store.link.close,
    )


async def _webhooks_here(store: OpenStore, settings: Settings) -> bool:
    """Files of history can be read on the node that holds them only."""
    if not settings.history.url or not {"api", "journal"} & set(settings.node.roles):
        return False
    if not await StoredEndpoints(store.link).there_are_some():
        return False
    return settings.history.url != "sqlite" or await store.cluster.history_holder() == settings.node.name
