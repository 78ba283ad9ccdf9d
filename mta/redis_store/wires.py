"""Connections to one server for what happens all the time: atomic steps, one call at a time on each, and hints heard.

The client library makes a connection ready (address, TLS, AUTH, SELECT, our check of the server); then its transport is
taken over: a call costs a quarter of what it costs there, a hint a tenth.
"""

import asyncio
from collections.abc import Callable, Collection, Sequence
from typing import Any, Final

import hiredis
from redis.asyncio.connection import ConnectionPool
from redis.exceptions import ConnectionError, ResponseError, TimeoutError

_MORE: Final = object()  # the answer is not complete


async def _connected(pool: Any) -> asyncio.StreamWriter:
    """A connection of the pool's kind that is ours from now on. Raises the client library's errors."""
    made = pool.make_connection()
    await made.connect()
    writer, made._writer = made._writer, None
    taken: asyncio.StreamWriter = writer
    return taken


def _reader() -> hiredis.Reader:
    return hiredis.Reader(protocolError=ConnectionError, replyError=ResponseError, notEnoughData=_MORE)


def _packed(words: Sequence[bytes | str | int | float]) -> bytes:
    """A command as the server reads it. Joined once: the library's packer lets its buffer grow with each word, which
    takes thirty times as long for messages of 50 KB."""
    parts = [b"*%d\r\n" % len(words)]
    for word in words:
        raw = word if isinstance(word, bytes) else str(word).encode()
        parts += (b"$%d\r\n" % len(raw), raw, b"\r\n")
    return b"".join(parts)


class _Wire(asyncio.Protocol):
    """One connection. Whatever goes wrong ends it, so that no answer is taken for another's."""

    __slots__ = ("_answer", "_loop", "_pool", "_reader", "_transport", "_writer")

    def __init__(self, pool: "Wires", writer: asyncio.StreamWriter) -> None:
        self._pool = pool
        self._loop = asyncio.get_running_loop()
        self._reader = _reader()
        self._answer: asyncio.Future[Any] | None = None
        self._writer = writer  # it would close the transport if it were dropped
        self._transport = writer.transport
        self._transport.set_protocol(self)

    async def ask(self, packed: bytes, seconds: float) -> Any:
        """Raises ConnectionError, TimeoutError (it may have run in both cases), ResponseError."""
        self._answer = answer = self._loop.create_future()
        self._transport.write(packed)
        timer = self._loop.call_later(seconds, self._too_late)
        try:
            return await answer
        finally:
            timer.cancel()
            self._answer = None

    def data_received(self, data: bytes) -> None:
        answer = self._answer
        try:
            self._reader.feed(data)
            found = self._reader.gets()
        except ConnectionError as error:
            self._fail(error)
            return
        if found is _MORE:
            return
        if answer is None or answer.done() or self._reader.has_data():
            self._fail(ConnectionError("the server answers what was not asked"))
        elif isinstance(found, ResponseError):
            answer.set_exception(found)
        else:
            answer.set_result(found)

    def connection_lost(self, error: Exception | None) -> None:
        self._fail(ConnectionError(f"the server closed the connection{f': {error}' if error else ''}"))
        self._pool.lost(self)

    @property
    def usable(self) -> bool:
        """Whether it can carry another call."""
        return not self._transport.is_closing()

    def abort(self) -> None:
        self._transport.abort()

    def _too_late(self) -> None:
        self._fail(TimeoutError("no answer in time"))

    def _fail(self, error: Exception) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)
        self._transport.abort()


class Wires:
    """As many connections as there were calls at a time."""

    def __init__(self, pool: ConnectionPool, timeout: float) -> None:
        """`pool` makes connections; none is taken from it."""
        self._pool: Any = pool
        self._timeout = timeout
        self._all: set[_Wire] = set()
        self._idle: list[_Wire] = []

    async def ask(self, words: tuple[bytes | str | int | float, ...]) -> Any:
        """Raises the client library's errors, and OSError."""
        packed = _packed(words)
        wire = self._idle.pop() if self._idle else await self._open()
        try:
            return await wire.ask(packed, self._timeout)
        except ResponseError:
            raise
        except BaseException:
            wire.abort()
            raise
        finally:
            if wire.usable:  # it may have been lost since the answer came
                self._idle.append(wire)

    async def _open(self) -> _Wire:
        wire = _Wire(self, await _connected(self._pool))
        self._all.add(wire)
        return wire

    def lost(self, wire: _Wire) -> None:
        self._all.discard(wire)
        if wire in self._idle:
            self._idle.remove(wire)

    def close(self) -> None:
        for wire in list(self._all):
            wire.abort()


class _Ear(asyncio.Protocol):
    """A subscription."""

    def __init__(self, writer: asyncio.StreamWriter, began: Callable[[], None], heard: Callable[[bytes, bytes], None]):
        self._reader = _reader()
        self._began = began
        self._heard = heard
        self._writer = writer  # it would close the transport if it were dropped
        self._waits = 0  # channels that the server has not confirmed
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.transport = writer.transport
        self.transport.set_protocol(self)

    def subscribe(self, channels: Collection[bytes]) -> None:
        self._waits = len(channels)
        self.transport.write(_packed((b"SUBSCRIBE", *channels)))

    def data_received(self, data: bytes) -> None:
        try:
            self._reader.feed(data)
            while (found := self._reader.gets()) is not _MORE:
                self._take(found)
        except Exception as error:  # also a defect of who is told: `hear` raises it
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
    ear = _Ear(await _connected(pool), began, heard)
    try:
        ear.subscribe(channels)
        await ear.lost
    finally:
        ear.transport.abort()
