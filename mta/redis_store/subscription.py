"""A subscription to channels of one server, on a connection of its own."""

import asyncio
from collections.abc import Callable, Collection
from typing import Any

from redis.asyncio.connection import ConnectionPool
from redis.exceptions import ConnectionError, ResponseError

from mta.redis_store.connections import own_connection
from mta.redis_store.wire_format import INCOMPLETE, pack, reader


class _Subscription(asyncio.Protocol):
    """The connection while it lasts."""

    def __init__(self, writer: asyncio.StreamWriter, began: Callable[[], None], heard: Callable[[bytes, bytes], None]):
        self._reader = reader()
        self._began = began
        self._heard = heard
        self._writer = writer  # it would close the transport if it were dropped
        self._waits = 0  # channels that the server has not confirmed
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.transport = writer.transport
        self.transport.set_protocol(self)

    def subscribe(self, channels: Collection[bytes]) -> None:
        self._waits = len(channels)
        self.transport.write(pack((b"SUBSCRIBE", *channels)))

    def data_received(self, data: bytes) -> None:
        try:
            self._reader.feed(data)
            while (found := self._reader.gets()) is not INCOMPLETE:
                self._take(found)
        except Exception as error:  # also a defect of `heard`: `hear` raises it
            self._end(error)

    def _take(self, found: Any) -> None:
        if isinstance(found, ResponseError):
            raise found
        kind, channel, data = found
        if kind == b"message":
            self._heard(channel, data)
            return
        self._waits -= 1
        if not self._waits:
            self._began()

    def connection_lost(self, error: Exception | None) -> None:
        self._end(ConnectionError(f"the server closed the connection{f': {error}' if error else ''}"))

    def _end(self, error: Exception) -> None:
        if not self.lost.done():
            self.lost.set_exception(error)
        self.transport.abort()


async def hear(
    pool: ConnectionPool,
    channels: Collection[bytes],
    began: Callable[[], None],
    heard: Callable[[bytes, bytes], None],
) -> None:
    """Call `began` once the server tells what is published there, then `heard` with channel and message, until the
    connection is lost. Raises the client library's errors."""
    subscription = _Subscription(await own_connection(pool), began, heard)
    try:
        subscription.subscribe(channels)
        await subscription.lost
    finally:
        subscription.transport.abort()
