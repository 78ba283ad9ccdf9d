"""Wiring: the one place that knows which adapter fulfils which port."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

from mta.model.errors import SettingsError, StoreAway
from mta.model.settings import Settings
from mta.redis_store.books import StoredBooks
from mta.redis_store.cluster_settings import ClusterSettings
from mta.redis_store.content import StoredContent
from mta.redis_store.foundation import Foundation
from mta.redis_store.limit_store import StoredLimits
from mta.redis_store.link import Link
from mta.redis_store.messages import StoredMessages
from mta.redis_store.outbox import StoredOutbox, StoredTail
from mta.redis_store.queues import Queues
from mta.redis_store.rule_store import StoredRules
from mta.redis_store.session import Session
from mta.redis_store.spare_store import StoredSpares
from mta.redis_store.sweep_store import StoredSweeps

log = logging.getLogger(__name__)


class Store:
    """Everything that a process may ask of the store, for one session."""

    def __init__(self, link: Link, cluster: ClusterSettings, settings: Settings, session: Session) -> None:
        lanes, retention = cluster.lanes, settings.status.retention
        self.link = link
        self.cluster = cluster
        self.foundation = Foundation(link)
        self.session = session
        self.content = StoredContent(link, settings.content.compress_above)
        self.queues = Queues(
            link,
            session,
            lanes,
            self.content,
            timeout=settings.redis.timeout,
            backlog_hard=settings.journal.backlog_hard if settings.journal.when_behind == "refuse" else 0,
            retention=retention,
        )
        self.rules = StoredRules(link, session, lanes, cluster.max_staleness, settings.rules.max_rules)
        self.sweeps = StoredSweeps(link, lanes, retention)
        self.spares = StoredSpares(link, lanes, settings.rules.undo_window)
        self.books = StoredBooks(link, lanes)
        self.messages = StoredMessages(link, lanes, retention, session.node)
        self.outbox = StoredOutbox(link, lanes)
        self.tail = StoredTail(link)
        self.limits = StoredLimits(link, session)


async def open_store(settings: Settings, url: str, role: str, roles: tuple[str, ...], stopping: asyncio.Event) -> Store:
    """Waits for a store that is away; raises StoreUnsafe, SettingsError."""
    link = await open_link(settings, url, stopping, crowded=role == "api")
    cluster = ClusterSettings(link)
    await patiently(lambda: cluster.open(settings.rules.max_staleness), stopping)
    return Store(link, cluster, settings, Session(settings.node.name, role, roles))


async def open_link(settings: Settings, url: str, stopping: asyncio.Event, crowded: bool = False) -> Link:
    """A link to a store that answers and is safe. Raises StoreUnsafe; SettingsError when told to stop before."""
    link = Link(url, settings.redis, _password(settings), crowded=crowded)
    told = False
    while not stopping.is_set():
        try:
            await link.open()
            return link
        except StoreAway as error:
            if not told:
                log.warning("waiting for the store at %s: %s", url.rpartition("@")[2], error)
                told = True
            await asyncio.sleep(0.5)
        except BaseException:
            await link.close()
            raise
    await link.close()
    raise SettingsError("stopped before the store could be reached")


async def patiently(call: Callable[[], Awaitable[None]], stopping: asyncio.Event) -> None:
    """Repeat `call`, which may be repeated, until the store has answered it. Raises StoreAway when told to stop."""
    while True:
        try:
            return await call()
        except StoreAway:
            if stopping.is_set():
                raise
            await asyncio.sleep(0.1)


def journal_name(node: str, pid: int) -> str:
    """The name that a node's journal process leases lanes under."""
    return f"{node}.{pid}"


def _password(settings: Settings) -> str | None:
    """Raises SettingsError."""
    if not settings.redis.password_file:
        return None
    try:
        return Path(settings.redis.password_file).read_text().strip()
    except OSError as error:
        raise SettingsError(f"redis.password_file: {error}") from error
