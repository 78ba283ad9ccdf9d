"""A master with replicas, one of which the sentinels make master when it is gone."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection
from typing import Any, Final

from redis.asyncio.connection import AbstractConnection, Connection, ConnectionPool, SSLConnection
from redis.exceptions import ConnectionError

from mta.model.store_urls import SentinelUrl
from mta.redis_store.connections import translating
from mta.redis_store.topology.one_server import OneServer
from mta.redis_store.topology.sentinels import Address, Sentinels
from mta.redis_store.topology.servers import OnConnect

log = logging.getLogger(__name__)

_EVERY: Final = 1.0  # seconds between two questions for the master, while a subscription stands
_SENTINEL_PATIENCE: Final = 1.0  # seconds that one sentinel may take to answer, at most


class Replicated(OneServer):
    """Fulfils Topology. Each new connection goes to the master of that time; when the sentinels name another one, the
    connections to the one before end, since it may still answer where the sentinels cannot see it."""

    def __init__(self, where: SentinelUrl, options: dict[str, Any], on_connect: OnConnect, timeout: float) -> None:
        """`options` are those of connections to the servers."""
        tls = {name: value for name, value in options.items() if name.startswith("ssl_")}
        patience = min(timeout, _SENTINEL_PATIENCE)
        asking = {
            "socket_timeout": patience,
            "socket_connect_timeout": patience,
            "protocol": options["protocol"],
            "retry": options["retry"],
            "username": where.sentinel_username or None,
            "password": where.sentinel_password,
        }
        self._sentinels = Sentinels(where, asking | ({"ssl": True, **tls} if where.tls else {}))
        self._address: Address | None = None
        self._moves = 0  # how often another server became master
        kind = _to_master(SSLConnection if where.tls else Connection, self._find)
        pool: Any = ConnectionPool(translating(kind), redis_connect_func=on_connect, db=where.db, **options)
        super().__init__(pool, timeout)

    async def _find(self) -> Address:
        """The master's address."""
        address = await self._sentinels.master()
        if self._address not in (None, address):
            log.debug("the sentinels name another master: %s:%d", *address)
            self._moves += 1
            self._steps.drop_all()
            await self.pool.disconnect()
        self._address = address
        return address

    async def refresh(self) -> None:
        try:
            await self._find()
        except ConnectionError as error:
            log.debug("%s", error)  # the master that is known goes on without sentinels

    async def subscribe(
        self, channels: Collection[bytes], began: Callable[[], None], heard: Callable[[bytes, bytes], None]
    ) -> None:
        hearing = asyncio.ensure_future(super().subscribe(channels, began, heard))
        following = asyncio.ensure_future(self._until_moved())
        try:
            await asyncio.wait((hearing, following), return_when=asyncio.FIRST_COMPLETED)
            if not hearing.done():
                raise ConnectionError("another server became master")
            hearing.result()
        finally:
            hearing.cancel()
            following.cancel()
            await asyncio.gather(hearing, following, return_exceptions=True)

    async def _until_moved(self) -> None:
        moves = self._moves
        while self._moves == moves:
            await asyncio.sleep(_EVERY)
            await self.refresh()

    async def close(self) -> None:
        await super().close()
        await self._sentinels.close()


def _to_master(kind: Any, find: Callable[[], Awaitable[Address]]) -> type[AbstractConnection]:
    """`kind` whose connections ask `find` where to connect."""

    class ToMaster(kind):  # type: ignore[misc]
        async def connect_check_health(self, *args: Any, **options: Any) -> None:
            if not self.is_connected:
                self.host, self.port = await find()
            await super().connect_check_health(*args, **options)

    return ToMaster
