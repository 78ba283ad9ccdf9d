"""Opening the store: a process waits for one that is away or unsafe, and learns the settings of the cluster there."""

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple, TypeVar
from urllib.parse import urlsplit

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
from mta.redis_store.cluster_settings import ClusterSettings
from mta.redis_store.link import Link
from mta.redis_store.session import StoreSession
from mta.runtime.secret_files import read_secret

_T = TypeVar("_T")
log = logging.getLogger(__name__)

_ASK_AGAIN: Final = 0.5  # seconds between two tries to reach a store that is away
_FIRST_LINES: Final = 5.0  # seconds between the first two lines about it; then twice as many each time


class OpenStore(NamedTuple):
    """A store that answers, as one process uses it."""

    link: Link
    cluster: ClusterSettings
    session: StoreSession

    @property
    def lanes(self) -> int:
        return self.cluster.lanes

    async def close(self) -> None:
        await self.link.close()


async def open_store(
    settings: Settings,
    url: str,
    role: str,
    roles: tuple[str, ...],
    stopping: asyncio.Event,
    waits: Callable[[StoreError], None] = lambda error: None,
    *,
    limit: float = math.inf,
) -> OpenStore:
    """Open a link as `open_link` does, and read the settings of the cluster. Raises SettingsError as well."""
    link = await open_link(settings, url, stopping, crowded=role == "api", limit=limit, waits=waits)
    cluster = ClusterSettings(link)
    try:
        await patiently(lambda: open_cluster(cluster, settings), stopping)
    except BaseException:
        await link.close()
        raise
    return OpenStore(link, cluster, StoreSession(settings.node.name, role, roles))


async def open_cluster(cluster: ClusterSettings, settings: Settings) -> None:
    """Write the settings of the cluster that are not there yet, read the others. Raises SettingsError, StoreError."""
    await cluster.open(settings.rules.max_staleness, settings.redis.lanes)


async def open_link(
    settings: Settings,
    url: str,
    stopping: asyncio.Event,
    *,
    crowded: bool = False,
    limit: float = math.inf,
    waits: Callable[[StoreError], None] = lambda error: None,
) -> Link:
    """Open a link, and wait at most `limit` seconds until the store answers and is safe.

    A node that starts gives a limit: then StoreUnsafe and StoreAway are raised, StoreDenied and StoreForeign at once,
    naming the setting. A process of a running node gives none: then a store that is unsafe is waited for, too, and the
    log line is left to the supervisor. `waits` is called with each reason. Raises SettingsError when told to stop.
    """
    starts = limit < math.inf
    link, where = link_to(settings.redis, url, crowded=crowded), address_of(url)
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


def link_to(redis: RedisSettings, url: str, *, crowded: bool = False) -> Link:
    """Not open yet. Raises SettingsError."""
    return Link(url, redis, read_password(redis), crowded=crowded)


def trouble_of(error: StoreError, redis: RedisSettings, url: str) -> str:
    """A sentence that says what is wrong, and names the setting where one is to blame."""
    if isinstance(error, StoreForeign):
        return f"redis.url: the server at {address_of(url)} does not speak the Redis protocol; correct the URL"
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


async def patiently(call: Callable[[], Awaitable[_T]], stopping: asyncio.Event) -> _T:
    """Repeat `call`, which may be repeated, until the store has answered it. Raises StoreAway when told to stop."""
    while True:
        try:
            return await call()
        except StoreAway:
            if stopping.is_set():
                raise
            await asyncio.sleep(0.1)


def read_password(redis: RedisSettings) -> str | None:
    """The first line of `redis.password_file`; None: none is given. Raises SettingsError."""
    return read_secret(redis.password_file, "redis.password_file") if redis.password_file else None
