"""The topology that a URL names."""

from typing import Any
from urllib.parse import unquote, urlsplit

from redis.asyncio.connection import ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from mta.model.settings import RedisSettings
from mta.model.store_urls import is_sentinel_url, parse_sentinel_url
from mta.redis_store.connections import translating
from mta.redis_store.topology.cluster import Cluster
from mta.redis_store.topology.one_server import OneServer
from mta.redis_store.topology.replicated import Replicated
from mta.redis_store.topology.servers import OnConnect, Topology


def topology_of(url: str, settings: RedisSettings, password: str | None, on_connect: OnConnect) -> Topology:
    """User and password in the URL win over `settings.username` and `password`. Raises BadValue for a bad URL."""
    options: dict[str, Any] = {
        "socket_timeout": settings.timeout,
        "socket_connect_timeout": settings.timeout,
        "protocol": 2,
        "retry": Retry(NoBackoff(), 0),  # a step that may have run must not be sent again by the library
    }
    _log_in(options, settings.username, password)
    if url.startswith("rediss") and settings.ca_file:
        options["ssl_ca_certs"] = settings.ca_file
    if url.startswith("redis+cluster://"):
        where = urlsplit(url)
        given = where.password
        _log_in(options, unquote(where.username or ""), None if given is None else unquote(given))
        return Cluster(where.hostname or "localhost", where.port or 6379, options, on_connect)
    if is_sentinel_url(url):
        found = parse_sentinel_url(url)
        _log_in(options, found.username, found.password)
        return Replicated(found, options, on_connect, settings.timeout)
    pool: Any = ConnectionPool.from_url(url, redis_connect_func=on_connect, **options)
    pool.connection_class = translating(pool.connection_class)
    return OneServer(pool, settings.timeout)


def _log_in(options: dict[str, Any], username: str, password: str | None) -> None:
    """Set those that are given."""
    if username:
        options["username"] = username
    if password is not None:
        options["password"] = password
