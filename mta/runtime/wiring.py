"""Wiring: the one place that knows which adapter fulfils which port."""

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from mta.log_file.delivery_log import DeliveryLog
from mta.log_file.lines import log_lines
from mta.model.errors import (
    SettingsError,
    StoreAway,
    StoreDenied,
    StoreError,
    StoreForeign,
    StoreLoading,
    StoreUnsafe,
)
from mta.model.secret_urls import has_password
from mta.model.settings import RedisSettings, Settings
from mta.ports.event_sinks import EventSink
from mta.ports.spool import Spool
from mta.redis_store.books import StoredBooks
from mta.redis_store.cluster_settings import ClusterSettings
from mta.redis_store.content import StoredContent
from mta.redis_store.foundation import Foundation
from mta.redis_store.limit_store import StoredLimits
from mta.redis_store.link import Link
from mta.redis_store.load import MeasuredLoad
from mta.redis_store.messages import StoredMessages
from mta.redis_store.outbox import StoredOutbox, StoredTail
from mta.redis_store.queues import Queues
from mta.redis_store.rule_store import StoredRules
from mta.redis_store.session import StoreSession
from mta.redis_store.sweep_store import StoredSweeps
from mta.redis_store.undo_copy_store import StoredUndoCopies
from mta.spool_files.spool import FileSpool

log = logging.getLogger(__name__)

_ASK_AGAIN: Final = 0.5  # seconds between two tries to reach a store that is away
_FIRST_LINES: Final = 5.0  # seconds between the first two lines about it; then twice as many each time


class Store:
    """Everything that a process may ask of the store, for one session."""

    def __init__(self, link: Link, cluster: ClusterSettings, settings: Settings, session: StoreSession) -> None:
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
        self.rules = StoredRules(link, session, lanes, cluster.max_staleness, settings.rules.max_rules, retention)
        self.sweeps = StoredSweeps(link, lanes, retention)
        self.undo_copies = StoredUndoCopies(link, lanes, settings.rules.undo_window)
        self.books = StoredBooks(link, lanes)
        self.messages = StoredMessages(link, lanes, retention)
        self.load = MeasuredLoad(link, lanes)
        self.outbox = StoredOutbox(link, lanes)
        self.tail = StoredTail(link, log_lines)
        self.limits = StoredLimits(link, session)


async def open_store(
    settings: Settings,
    url: str,
    role: str,
    roles: tuple[str, ...],
    stopping: asyncio.Event,
    waits: Callable[[StoreError], None] = lambda error: None,
) -> Store:
    """Waits for a store that is away or unsafe, and calls `waits` with each reason; raises SettingsError."""
    link = await open_link(settings, url, stopping, crowded=role == "api", waits=waits)
    cluster = ClusterSettings(link)
    await patiently(lambda: cluster.open(settings.rules.max_staleness, settings.redis.lanes), stopping)
    return Store(link, cluster, settings, StoreSession(settings.node.name, role, roles))


async def open_link(
    settings: Settings,
    url: str,
    stopping: asyncio.Event,
    *,
    crowded: bool = False,
    limit: float = math.inf,
    waits: Callable[[StoreError], None] = lambda error: None,
) -> Link:
    """A link to a store that answers and is safe; one that is away is waited for, `limit` seconds at most.

    With a limit it is the node that starts: raises StoreUnsafe, StoreAway, and at once StoreDenied and StoreForeign,
    naming the setting. Without one it is a process of a running node: it waits for a store that is unsafe, too, and
    leaves it to the supervisor to say so. `waits` is called with each reason. SettingsError when told to stop before.
    """
    starts = limit < math.inf
    link, where = _link(settings.redis, url, crowded), address_of(url)
    began, next_line = time.monotonic(), 0.0
    while not stopping.is_set():
        try:
            await link.open()
            return link
        except (StoreAway, StoreUnsafe) as error:
            if starts and isinstance(error, StoreUnsafe):
                await link.close()
                raise
            waits(error)
            waited = time.monotonic() - began
            trouble = trouble_of(error, settings.redis, url)
            if starts and isinstance(error, StoreDenied | StoreForeign):
                await link.close()
                raise type(error)(trouble) from None
            if waited > limit and not isinstance(error, StoreLoading):
                await link.close()
                said = f"redis.url: waited {waited:.0f} s for the store at {where}: {trouble}"
                raise StoreAway(f"{said}; start it, or correct the URL") from None
            if waited >= next_line:
                level = logging.WARNING if starts else logging.DEBUG
                log.log(level, "waited %.0f s for the store at %s: %s", waited, where, trouble)
                next_line = max(_FIRST_LINES, 2 * next_line)
            await asyncio.sleep(_ASK_AGAIN)
        except StoreError as error:
            await link.close()
            raise StoreError(f"redis.url: the server at {where} cannot be used: {error}; correct the URL") from None
        except BaseException:
            await link.close()
            raise
    await link.close()
    raise SettingsError("stopped before the store could be reached")


async def check_store(redis: RedisSettings) -> Link:
    """A link to a server that answers and is safe, on which nothing was changed. Raises StoreAway, StoreUnsafe,
    SettingsError."""
    link = _link(redis, redis.url, False)
    try:
        await link.reach()
        await link.check()
    except BaseException:
        await link.close()
        raise
    return link


def _link(redis: RedisSettings, url: str, crowded: bool) -> Link:
    """Raises SettingsError."""
    return Link(url, redis, read_password(redis), crowded=crowded)


def trouble_of(error: StoreError, redis: RedisSettings, url: str) -> str:
    """What is wrong, in a sentence that names the setting where one is to blame."""
    if isinstance(error, StoreForeign):
        return f"redis.url: what answers at {address_of(url)} does not speak the Redis protocol; correct the URL"
    if not isinstance(error, StoreDenied):
        return str(error)
    if redis.password_file:
        refused, fix = f"the password in {redis.password_file}", "correct it"
    elif has_password(url):
        refused, fix = "the password in redis.url", "put the right one into a file, and its path here"
    else:
        refused, fix = "a client without a password", "put the password into a file, and its path here"
    return f"redis.password_file: the server at {address_of(url)} refuses {refused}; {fix} (the server says: {error})"


def address_of(url: str) -> str:
    """Host and port, or the socket's path: a URL without its secrets."""
    where = urlsplit(url)
    return where.path if where.scheme == "unix" else where.netloc.rpartition("@")[2]


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


def open_log(settings: Settings) -> EventSink:
    """Raises OSError: the log cannot be written, or another process writes it."""
    return DeliveryLog(settings.journal.log_path, log_lines)


def open_spool(settings: Settings) -> Spool:
    """Raises OSError: its folder cannot be used, or another process has it."""
    return FileSpool(f"{settings.node.data_dir}/journal", settings.journal.spool_max)


def read_password(redis: RedisSettings) -> str | None:
    """The first line of `redis.password_file`; None: none is given. Raises SettingsError."""
    path = redis.password_file
    if not path:
        return None
    try:
        lines = Path(path).read_text("utf-8").splitlines()
    except OSError as error:
        raise SettingsError(f"redis.password_file: {path}: {error.strerror}; give a file that can be read") from None
    except UnicodeDecodeError:
        raise SettingsError(f"redis.password_file: {path} is not UTF-8; save it as UTF-8") from None
    if not lines or not lines[0].strip():
        raise SettingsError(f"redis.password_file: the first line of {path} is empty; write the password there")
    return lines[0].strip()
