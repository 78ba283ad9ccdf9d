"""Connections to one server for atomic steps and other short calls.

The client library makes a connection ready (address, TLS, AUTH, SELECT, our check of the server). Then its transport is
taken over: a call costs a quarter of the CPU that it costs in the library.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any, Final

from redis.asyncio.connection import ConnectionPool
from redis.exceptions import ConnectionError, ResponseError, TimeoutError

from mta.redis_store.connections import own_connection
from mta.redis_store.wire_format import INCOMPLETE, pack, reader

_PATIENCE: Final = 0.01  # seconds that a patient call waits; a busy worker accepts a batch every few milliseconds

_Answer = asyncio.Future[Any]
# Future, timer, number of commands, answers that have come so far.
_Call = tuple[_Answer, asyncio.TimerHandle, int, list[Any]]


def _committed(replies: Sequence[Any]) -> Any:
    """The answer of a transaction's last command. Raises the error that kept it from running, or the first in it."""
    *queued, done = replies
    if isinstance(queued[0], ResponseError):  # then the commands that follow are no transaction, and may have run
        raise ConnectionError(f"the server refuses transactions: {queued[0]}")
    for one in (*queued, *(done if isinstance(done, list) else [done])):
        if isinstance(one, ResponseError):
            raise one
    return done[-1]


class _StepConnection(asyncio.Protocol):
    """One connection. Any fault ends it, so that no answer is taken for another call's."""

    __slots__ = ("_calls", "_loop", "_owed", "_pool", "_reader", "_transport", "_writer")

    def __init__(self, pool: "StepConnections", writer: asyncio.StreamWriter) -> None:
        self._pool = pool
        self._loop = asyncio.get_running_loop()
        self._reader = reader()
        self._calls: deque[_Call] = deque()  # in the order of their answers
        self._owed = 0  # replies that are to come
        self._writer = writer  # it would close the transport if it were dropped
        self._transport = writer.transport
        self._transport.set_protocol(self)

    def send(self, packed: bytes, answer: _Answer, seconds: float, commands: int = 1) -> None:
        """`answer` gets the server's answer, ConnectionError, TimeoutError (the call may have run in both cases) or
        ResponseError; nothing when it was cancelled meanwhile. For several commands it gets the list of answers."""
        self._calls.append((answer, self._loop.call_later(seconds, self._too_late), commands, []))
        self._owed += commands
        self._transport.write(packed)

    def data_received(self, data: bytes) -> None:
        found = []
        try:
            self._reader.feed(data)
            while (one := self._reader.gets()) is not INCOMPLETE:
                found.append(one)
            if len(found) > self._owed:
                raise ConnectionError("the server sent an answer that no call waits for")
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
            if answer.done():  # its caller has given up
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


class StepConnections:
    """As many connections as there were calls at a time. Calls of one round of the loop share a connection, and with it
    one sync of the server to its disk."""

    def __init__(self, pool: ConnectionPool, timeout: float) -> None:
        """`pool` makes connections; none is taken from it."""
        self._pool: Any = pool
        self._timeout = timeout
        self._all: set[_StepConnection] = set()
        self._idle: list[_StepConnection] = []
        self._shared: _StepConnection | None = None  # carries the calls of this round of the loop
        self._patient: list[tuple[bytes, _Answer]] = []
        self._departure: asyncio.TimerHandle | None = None
        self._departing: asyncio.Task[None] | None = None

    async def ask(self, words: tuple[bytes | str | int | float, ...], *, patient: bool = False) -> Any:
        """Raises the client library's errors, and OSError. `patient`: it may wait for another call, and then
        share its connection."""
        if not patient:
            return await self._send(pack(words), 1)
        loop = asyncio.get_running_loop()
        answer: _Answer = loop.create_future()
        self._patient.append((pack(words), answer))
        if self._departure is None:
            self._departure = loop.call_later(_PATIENCE, self._depart)
        return await answer

    async def ask_at_once(self, *commands: tuple[bytes | str | int | float, ...]) -> Any:
        """The commands as one transaction, in one write: no other command comes between them, and none runs where the
        server refuses one of them unseen. Answers as the last command; raises as `ask` does."""
        return _committed(await self._send(pack((b"MULTI",), *commands, (b"EXEC",)), len(commands) + 2))

    async def _send(self, packed: bytes, commands: int) -> Any:
        """Send a call at once, and the patient calls with it."""
        answer: _Answer = asyncio.get_running_loop().create_future()
        connection = self._ready() or await self._open()
        connection.send(packed, answer, self._timeout, commands)
        self._send_patient(connection)
        return await answer

    def _ready(self) -> _StepConnection | None:
        if self._shared is not None and not self._shared.usable:
            self._shared = None
        while self._shared is None and self._idle:
            connection = self._idle.pop()
            if connection.usable:  # else `lost` is about to be called for it
                self._shared = connection
                asyncio.get_running_loop().call_soon(self._round_over)
        return self._shared

    def _round_over(self) -> None:
        self._shared = None

    async def _open(self) -> _StepConnection:
        connection = _StepConnection(self, await own_connection(self._pool))
        self._all.add(connection)
        return connection

    def _send_patient(self, connection: _StepConnection) -> None:
        for packed, answer in self._take_patient():
            connection.send(packed, answer, self._timeout)

    def _take_patient(self) -> list[tuple[bytes, _Answer]]:
        if self._departure is None:
            return []
        self._departure.cancel()
        self._departure = None
        waiting, self._patient = self._patient, []
        return waiting

    def _depart(self) -> None:
        """No other call came within the patience: the patient calls go by themselves."""
        if (connection := self._ready()) is not None:
            self._send_patient(connection)
        else:
            self._departing = asyncio.get_running_loop().create_task(self._open_and_depart())

    async def _open_and_depart(self) -> None:
        try:
            self._idle.append(await self._open())
        except Exception as error:  # the client library's
            self._give_up(error)
            return
        if self._departure is not None:  # else a call came meanwhile and took them along
            self._depart()

    def _give_up(self, error: Exception) -> None:
        """Every patient call gets the error."""
        for _, answer in self._take_patient():
            if not answer.done():
                answer.set_exception(error)

    def answered(self, connection: _StepConnection) -> None:
        """All calls of the connection have their answers."""
        if connection is self._shared:
            self._shared = None
        if connection.usable:  # else it was lost together with its last answer
            self._idle.append(connection)

    def lost(self, connection: _StepConnection) -> None:
        self._all.discard(connection)
        if connection is self._shared:
            self._shared = None
        if connection in self._idle:
            self._idle.remove(connection)

    def drop_all(self) -> None:
        """End every connection; a call that waits for its answer may have run."""
        for connection in list(self._all):
            connection.abort()

    def close(self) -> None:
        self._give_up(ConnectionError("the store is closed"))
        self.drop_all()
