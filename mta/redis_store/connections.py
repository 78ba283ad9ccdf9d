"""Connections of the client library that fail with the library's own errors only, whatever they met.

The library translates OSError. Its connections raise other errors, too: uvloop's transports answer RuntimeError ("the
handler is closed") to a write after a reset. A caller that does not know such an error would take a store that is away
for a defect.
"""

import asyncio
import contextlib
from collections.abc import Iterator, MutableMapping
from typing import Any

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import AuthenticationError, AuthorizationError, ConnectionError, RedisError, TimeoutError

_REFUSED_LOGIN = (AuthenticationError, AuthorizationError)


class Unconnected(ConnectionError):
    """No connection could be made: nothing was sent over it."""


def translating(kind: type[AbstractConnection]) -> type[AbstractConnection]:
    """`kind` with every fault of making a connection as Unconnected, but answers of the server as they are; and every
    fault of its use as ConnectionError."""

    class Translating(kind):  # type: ignore[misc, valid-type]
        async def connect_check_health(self, *args: Any, **kwargs: Any) -> None:
            try:
                with _faults_as(Unconnected):
                    await super().connect_check_health(*args, **kwargs)
            except Unconnected:
                await self.disconnect(nowait=True)  # the library leaves it half prepared
                raise
            except _REFUSED_LOGIN:
                raise
            except (ConnectionError, TimeoutError) as error:
                raise Unconnected(*error.args) from error

        async def send_packed_command(self, *args: Any, **kwargs: Any) -> None:
            with _faults_as(ConnectionError):  # the library has closed it
                await super().send_packed_command(*args, **kwargs)

        async def read_response(self, *args: Any, **kwargs: Any) -> Any:
            with _faults_as(ConnectionError):
                return await super().read_response(*args, **kwargs)

    return Translating


@contextlib.contextmanager
def _faults_as(kind: type[ConnectionError]) -> Iterator[None]:
    """Anything but the library's own errors becomes `kind`."""
    try:
        yield
    except RedisError:
        raise
    except Exception as error:
        raise kind(f"{type(error).__name__}: {error}") from error


async def own_connection(pool: Any) -> asyncio.StreamWriter:
    """A new connection of the pool's kind, which the caller owns from now on. Raises Unconnected, and errors that the
    server answers."""
    made = pool.make_connection()
    await made.connect()
    reader, writer, made._writer = made._reader, made._writer, None
    taken: asyncio.StreamWriter = writer
    if reader.at_eof() or reader.exception() is not None or taken.transport.is_closing():
        taken.transport.abort()  # nobody would tell its new owner that it is lost
        raise Unconnected("the server closed the connection while it was made")
    return taken


def answer_raw(callbacks: MutableMapping[Any, Any]) -> None:
    """Make a client give answers as they come: the shapes that the library makes of them cost time, and one of them
    folds equal field names of a stream entry into one."""
    for name in ("XRANGE", "XREVRANGE", "XREAD", "ZRANGE", "HGETALL", "SCAN", "SMEMBERS", "INFO", "CONFIG GET"):
        callbacks.pop(name, None)
