"""Connections to one server for what happens all the time: atomic steps, and hints heard.

The client library makes a connection ready (address, TLS, AUTH, SELECT, our check of the server); then its transport is
taken over: a call costs a quarter of what it costs there, a hint a tenth.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Sequence
from typing import Any, Final

import hiredis
from redis.asyncio.connection import ConnectionPool
from redis.exceptions import ConnectionError, ResponseError, TimeoutError

from mta.redis_store.connections import Unconnected

_MORE: Final = object()  # the answer is not complete
_PATIENCE: Final = 0.01  # seconds: a worker that is busy accepts a batch every few milliseconds

_Answer = asyncio.Future[Any]
# How many commands a call has, and what was said of them so far.
_Call = tuple[_Answer, asyncio.TimerHandle, int, list[Any]]


async def _connected(pool: Any) -> asyncio.StreamWriter:
    """A connection of the pool's kind that is ours from now on. Raises Unconnected, and what the server answers."""
    made = pool.make_connection()
    await made.connect()
    reader, writer, made._writer = made._reader, made._writer, None
    taken: asyncio.StreamWriter = writer
    if reader.at_eof() or reader.exception() is not None or taken.transport.is_closing():
        taken.transport.abort()  # nobody would tell its new owner that it is lost
        raise Unconnected("the server closed the connection while it was made")
    return taken


def _reader() -> hiredis.Reader:
    return hiredis.Reader(protocolError=ConnectionError, replyError=ResponseError, notEnoughData=_MORE)


def _packed(*commands: Sequence[bytes | str | int | float]) -> bytes:
    """Commands as the server reads them. Joined once: the library's packer lets its buffer grow with each word, which
    takes thirty times as long for messages of 50 KB."""
    parts = []
    for words in commands:
        parts.append(b"*%d\r\n" % len(words))
        for word in words:
            raw = word if isinstance(word, bytes) else str(word).encode()
            parts += (b"$%d\r\n" % len(raw), raw, b"\r\n")
    return b"".join(parts)


def _committed(replies: Sequence[Any]) -> Any:
    """What the last command of a transaction answered; raises what kept it from running, or the first error in it."""
    *queued, done = replies
    if isinstance(queued[0], ResponseError):  # then what follows is no transaction, and may have run
        raise ConnectionError(f"the server refuses transactions: {queued[0]}")
    for one in (*queued, *(done if isinstance(done, list) else [done])):
        if isinstance(one, ResponseError):
            raise one
    return done[-1]


class _Wire(asyncio.Protocol):
    """One connection. Whatever goes wrong ends it, so that no answer is taken for another's."""

    __slots__ = ("_calls", "_loop", "_owed", "_pool", "_reader", "_transport", "_writer")

    def __init__(self, pool: "Wires", writer: asyncio.StreamWriter) -> None:
        self._pool = pool
        self._loop = asyncio.get_running_loop()
        self._reader = _reader()
        self._calls: deque[_Call] = deque()  # in the order of their answers
        self._owed = 0  # replies that are to come
        self._writer = writer  # it would close the transport if it were dropped
        self._transport = writer.transport
        self._transport.set_protocol(self)

    def send(self, packed: bytes, answer: _Answer, seconds: float, commands: int = 1) -> None:
        """`answer` gets what the server says, ConnectionError, TimeoutError (it may have run in both cases) or
        ResponseError; nothing when it was cancelled meanwhile. Of several commands it gets the list of what is said."""
        self._calls.append((answer, self._loop.call_later(seconds, self._too_late), commands, []))
        self._owed += commands
        self._transport.write(packed)

    def data_received(self, data: bytes) -> None:
        found = []
        try:
            self._reader.feed(data)
            while (one := self._reader.gets()) is not _MORE:
                found.append(one)
            if len(found) > self._owed:
                raise ConnectionError("the server answers what was not asked")
        except ConnectionError as error:
            self._fail(error)
            return
        self._owed -= len(found)
        for one in found:
            answer, timer, commands, replies = self._calls[0]
            if commands > 1:
                replies.append(one)
                if len(replies) < commands:
                    continue
                one = replies
            self._calls.popleft()
            timer.cancel()
            if answer.done():  # nobody waits for it any more
                continue
            if isinstance(one, ResponseError):
                answer.set_exception(one)
            else:
                answer.set_result(one)
        if found and not self._calls:
            self._pool.answered(self)

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
        while self._calls:
            answer, timer, _, _ = self._calls.popleft()
            timer.cancel()
            if not answer.done():
                answer.set_exception(error)
        self._transport.abort()


class Wires:
    """As many connections as there were calls at a time. Calls of one round of the loop share a connection, and so the
    sync to disk that the server owes each of them."""

    def __init__(self, pool: ConnectionPool, timeout: float) -> None:
        """`pool` makes connections; none is taken from it."""
        self._pool: Any = pool
        self._timeout = timeout
        self._all: set[_Wire] = set()
        self._idle: list[_Wire] = []
        self._shared: _Wire | None = None  # that calls of this round of the loop go over
        self._patient: list[tuple[bytes, _Answer]] = []
        self._patience: asyncio.TimerHandle | None = None
        self._leaving: asyncio.Task[None] | None = None

    async def ask(self, words: tuple[bytes | str | int | float, ...], *, patient: bool = False) -> Any:
        """Raises the client library's errors, and OSError. `patient`: it may wait some milliseconds for another call
        to go along with."""
        if not patient:
            return await self._said(_packed(words), 1)
        loop = asyncio.get_running_loop()
        answer: _Answer = loop.create_future()
        self._patient.append((_packed(words), answer))
        if self._patience is None:
            self._patience = loop.call_later(_PATIENCE, self._leave)
        return await answer

    async def ask_at_once(self, *commands: tuple[bytes | str | int | float, ...]) -> Any:
        """One transaction, in one write: nothing comes between the commands, and where the server takes one of them not
        at all none runs. What the last one answers; raises as `ask` does."""
        return _committed(await self._said(_packed((b"MULTI",), *commands, (b"EXEC",)), len(commands) + 2))

    async def _said(self, packed: bytes, commands: int) -> Any:
        """Sent at once, and those that have patience with it."""
        answer: _Answer = asyncio.get_running_loop().create_future()
        wire = self._ready() or await self._open()
        wire.send(packed, answer, self._timeout, commands)
        self._go_along(wire)
        return await answer

    def _ready(self) -> _Wire | None:
        if self._shared is not None and not self._shared.usable:
            self._shared = None
        while self._shared is None and self._idle:
            wire = self._idle.pop()
            if wire.usable:  # else it is about to be told that it is lost
                self._shared = wire
                asyncio.get_running_loop().call_soon(self._round_over)
        return self._shared

    def _round_over(self) -> None:
        self._shared = None

    async def _open(self) -> _Wire:
        wire = _Wire(self, await _connected(self._pool))
        self._all.add(wire)
        return wire

    def _go_along(self, wire: _Wire) -> None:
        for packed, answer in self._no_longer_patient():
            wire.send(packed, answer, self._timeout)

    def _no_longer_patient(self) -> list[tuple[bytes, _Answer]]:
        if self._patience is None:
            return []
        self._patience.cancel()
        self._patience = None
        waiting, self._patient = self._patient, []
        return waiting

    def _leave(self) -> None:
        """Nobody came."""
        if (wire := self._ready()) is not None:
            self._go_along(wire)
        else:
            self._leaving = asyncio.get_running_loop().create_task(self._leave_by_a_new_one())

    async def _leave_by_a_new_one(self) -> None:
        try:
            self._idle.append(await self._open())
        except Exception as error:  # the client library's
            self._give_up(error)
            return
        if self._patience is not None:  # else somebody came after all
            self._leave()

    def _give_up(self, error: Exception) -> None:
        """Each that has patience gets the error."""
        for _, answer in self._no_longer_patient():
            if not answer.done():
                answer.set_exception(error)

    def answered(self, wire: _Wire) -> None:
        """It has no call any more."""
        if wire is self._shared:
            self._shared = None
        if wire.usable:  # it may have been lost with its answer
            self._idle.append(wire)

    def lost(self, wire: _Wire) -> None:
        self._all.discard(wire)
        if wire is self._shared:
            self._shared = None
        if wire in self._idle:
            self._idle.remove(wire)

    def close(self) -> None:
        self._give_up(ConnectionError("the store is closed"))
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
