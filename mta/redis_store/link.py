"""The connection to the store: atomic steps called, foreign errors translated, the server's safety known."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

import redis.asyncio as redis_asyncio
from redis.asyncio.cluster import PipelineCommand, RedisCluster
from redis.asyncio.connection import AbstractConnection, ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    ClusterDownError,
    ClusterError,
    ConnectionError,
    InvalidResponse,
    MasterDownError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisClusterException,
    RedisError,
    ResponseError,
    TimeoutError,
    TryAgainError,
)

from mta.model.errors import (
    StoreAway,
    StoreDenied,
    StoreError,
    StoreForeign,
    StoreFull,
    StoreLoading,
    StoreRefuses,
    StoreUnreached,
    StoreUnsafe,
)
from mta.model.settings import RedisSettings
from mta.redis_store import library, safety
from mta.redis_store.connections import Unconnected, translating
from mta.redis_store.step_connections import StepConnections
from mta.redis_store.subscription import hear

log = logging.getLogger(__name__)

_CROWD: Final = 32  # calls at a time where they come by hundreds: more make none of them faster
_LIGHT: Final = 128 * 1024  # bytes that cost less on their way through Lua than a transaction's answers do

# What says "not now" rather than "wrong": the same call may go through later.
_AWAY = (
    ConnectionError,
    TimeoutError,
    InvalidResponse,
    ClusterDownError,
    ClusterError,
    TryAgainError,
    OSError,
)
_REFUSES = (MasterDownError, ReadOnlyError)

_NOT_NOW = ("BUSY", "CLUSTERDOWN", "TRYAGAIN", "MOVED", "ASK ")
# The same, said before anything of a step ran, and likely to be said again: to wait for another answer helps nobody.
_NO_WRITES = ("READONLY", "MISCONF", "LOADING", "NOREPLICAS", "MASTERDOWN")
_DISCARDED: Final = "EXECABORT Transaction discarded because of: "


def _away(error: BaseException) -> StoreAway:
    """The kind of absence that the client library's error tells."""
    words = str(error) or type(error).__name__
    if isinstance(error, AuthenticationError):
        return StoreDenied(words)
    if isinstance(error, InvalidResponse):
        return StoreForeign(words)
    return StoreLoading(words) if isinstance(error, BusyLoadingError) else StoreAway(words)


def _answer_raw(callbacks: MutableMapping[Any, Any]) -> None:
    """Answers as they come: the client's own shapes cost time and fold equal field names of a stream entry into one."""
    for name in ("XRANGE", "XREVRANGE", "XREAD", "ZRANGE", "HGETALL", "SCAN", "SMEMBERS", "INFO", "CONFIG GET"):
        callbacks.pop(name, None)


class Link:
    """One process's way to the store. A call that fails leaves no half-read connection behind."""

    def __init__(
        self, url: str, settings: RedisSettings, password: str | None = None, *, crowded: bool = False
    ) -> None:
        """`crowded`: calls come by hundreds at once; they take turns, since the client refuses so many."""
        self._settings = settings
        self._turns = asyncio.Semaphore(_CROWD) if crowded else contextlib.nullcontext()
        self._run_ids: set[bytes] = set()  # of servers whose settings were checked
        self._checking: asyncio.Task[None] | None = None
        self._subscriber: asyncio.Task[None] | None = None
        self._heard: dict[bytes, list[Callable[[bytes], None]]] = {}
        self._on_reconnect: list[Callable[[], None]] = []
        self.timeout = settings.timeout  # seconds
        self.patience = settings.timeout / 2  # seconds that a command may block, since no answer is awaited longer
        self._replicas = 0  # that must have a step before `call_kept` believes in it
        self.unsafe = "not checked yet"  # why mail may not be accepted, "" = safe
        self._allowed = ""  # what is unsafe and allowed, as it was told last
        self.cluster = url.startswith("redis+cluster://")
        kwargs: dict[str, Any] = {
            "socket_timeout": settings.timeout,
            "socket_connect_timeout": settings.timeout,
            "protocol": 2,
            "retry": Retry(NoBackoff(), 0),  # a step that may have run is never run again behind our back
        }
        if settings.username:
            kwargs["username"] = settings.username
        if password is not None:
            kwargs["password"] = password
        self._wires: StepConnections | None = None  # for the steps; a cluster's client knows where each goes
        self._client = self._cluster(url, kwargs) if self.cluster else self._single(url, kwargs)

    def _single(self, url: str, kwargs: dict[str, Any]) -> Any:
        if url.startswith("rediss://") and self._settings.ca_file:
            kwargs["ssl_ca_certs"] = self._settings.ca_file
        pool: Any = ConnectionPool.from_url(url, redis_connect_func=self._on_connect, **kwargs)
        pool.connection_class = translating(pool.connection_class)
        self._wires = StepConnections(pool, self._settings.timeout)
        client = redis_asyncio.Redis(connection_pool=pool)
        _answer_raw(client.response_callbacks)
        return client

    def _cluster(self, url: str, kwargs: dict[str, Any]) -> Any:
        where = urlsplit(url)
        client = RedisCluster(host=where.hostname or "localhost", port=where.port or 6379, **kwargs)
        nodes = client.nodes_manager
        kind: Any = translating(nodes.connection_kwargs["connection_class"])
        nodes.connection_kwargs |= {"redis_connect_func": self._on_connect, "connection_class": kind}
        _answer_raw(nodes.connection_kwargs["response_callbacks"])
        for node in nodes.startup_nodes.values():
            node.connection_kwargs["redis_connect_func"] = self._on_connect
            node.connection_class = kind
            _answer_raw(node.response_callbacks)
        return client

    async def _on_connect(self, connection: AbstractConnection) -> None:
        """It may lead to a server that was restarted, or to another one: nothing is accepted there unchecked."""
        await connection.on_connect()
        await connection.send_command("INFO", "server")
        run_id = safety.run_id(await connection.read_response())
        if run_id not in self._run_ids:
            self.unsafe = "a server was met that has not been checked yet"

    async def open(self) -> None:
        """Reach the server, load the library, check its settings. Raises StoreAway, StoreUnsafe."""
        await self.reach()
        await self.load_library()
        await self.check()

    async def reach(self) -> None:
        """Nothing but calls of `check` and `command` may follow without `open`. Raises StoreAway."""
        if self.cluster:
            await self._translated(self._client.initialize)

    async def check(self) -> None:
        """Raises StoreUnsafe naming what is wrong, unless `redis.allow_unsafe`; StoreRefuses: it takes no writes."""
        found = await self._translated(lambda: safety.inspect(self._client, self.cluster))
        self._replicas = found.replicas
        problems = found.said()
        if problems and not self._settings.allow_unsafe:
            self.unsafe = problems
            raise StoreUnsafe(problems, found.named())
        if problems != self._allowed:
            self._allowed = problems
            if problems:
                log.warning("the store is unsafe and redis.allow_unsafe is set: %s", problems)
        self._run_ids |= found.run_ids
        self.unsafe = ""
        if found.read_only:
            raise StoreRefuses("the server is a replica")

    async def ensure_safe(self) -> None:
        """At no cost while nothing changed. Raises StoreUnsafe, StoreAway."""
        if not self.unsafe:
            return
        if self._checking is None or self._checking.done():
            self._checking = asyncio.ensure_future(self.check())
        await asyncio.shield(self._checking)

    async def load_library(self) -> None:
        """On every master that lacks it. It is never replaced: its name says what is in it."""
        for target in self._masters():
            try:
                await self.command("FUNCTION LOAD", library.CODE, **target)
            except StoreError as error:
                if "already exists" not in str(error):
                    raise

    async def libraries(self) -> set[str]:
        """The names of the Functions libraries that any master has."""
        found: set[str] = set()
        for target in self._masters():
            for row in await self.command("FUNCTION LIST", **target):
                said = dict(zip(row[::2], row[1::2], strict=True))
                found.add(said[b"library_name"].decode())
        return found

    async def remove_library(self, name: str) -> None:
        """On every master that has it."""
        for target in self._masters():
            try:
                await self.command("FUNCTION DELETE", name, **target)
            except StoreError as error:
                if "Library not found" not in str(error):
                    raise

    def _masters(self) -> list[dict[str, Any]]:
        """Options that send a command to each of them."""
        return [{"target_nodes": node} for node in self._client.get_primaries()] if self.cluster else [{}]

    async def call(
        self,
        function: bytes,
        keys: Sequence[bytes],
        args: Sequence[bytes | str | int],
        *,
        patient: bool = False,
        fields: tuple[bytes, Sequence[bytes]] | None = None,
    ) -> Any:
        """Run an atomic step. Raises StoreAway (it may have run), StoreFull (it has not), StoreError (our mistake).
        `patient`: nobody waits for it, so it may wait for a step that it can go along with. `fields`: a hash, and
        field, value, ... that stand there when the step begins, in one transaction with it; or, in a Cluster and where
        they are few bytes, they are the step's last arguments, and it puts them there."""
        words = ("FCALL", library.STEPS[function], len(keys), *keys, *args)
        if fields is not None:
            if (wires := self._wires) is not None and sum(map(len, fields[1])) > _LIGHT:
                put: tuple[bytes | str, ...] = ("HSET", fields[0], *fields[1])
                return await self._with_library(lambda: wires.ask_at_once(put, words))
            words += tuple(fields[1])
        return await self._with_library(lambda: self._ask(words, keys[0], patient))

    async def _with_library(self, ask: Callable[[], Awaitable[Any]]) -> Any:
        try:
            return await self._translated(ask)
        except StoreError as error:
            if "Function not found" not in str(error):
                raise
        await self.load_library()  # a master that lacks the library says so before anything ran
        return await self._translated(ask)

    async def call_kept(self, function: bytes, keys: Sequence[bytes], args: Sequence[bytes | str | int]) -> Any:
        """As `call`, and as many replicas have what it wrote as the server itself wants for a write (its
        `min-replicas-to-write`). Else StoreAway: a master that lost its replicas may have a successor already, who
        knows nothing of it."""
        if not self._replicas:
            return await self.call(function, keys, args)
        words = ("FCALL", library.STEPS[function], len(keys), *keys, *args)
        wait = ("WAIT", self._replicas, int(self._settings.timeout * 500))
        answer, many = await self._with_library(lambda: self._together(keys[0], words, wait))
        if many < self._replicas:
            raise StoreAway(f"{many} replicas have it, the server's min-replicas-to-write is {self._replicas}")
        return answer

    async def _together(self, key: bytes, *commands: tuple[Any, ...]) -> list[Any]:
        """Commands on one connection: WAIT is about the writes of its own."""
        if self.cluster:
            both = [PipelineCommand(at, *words) for at, words in enumerate(commands)]
            await self._client.get_node_from_key(key).execute_pipeline(both)
            answers = [command.result for command in both]
        else:
            pipe = self._client.pipeline(transaction=False)
            for words in commands:
                pipe.execute_command(*words)
            answers = await pipe.execute(raise_on_error=False)
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        return answers

    def _ask(self, words: tuple[bytes | str | int, ...], key: bytes, patient: bool) -> Awaitable[Any]:
        """One step. A cluster client that is told where it goes neither asks for the keys nor tries again by itself."""
        if self._wires is not None:
            return self._wires.ask(words, patient=patient)
        asked: Awaitable[Any] = self._client.execute_command(*words, target_nodes=self._client.get_node_from_key(key))
        return asked

    async def command(self, *words: bytes | str | int | float, **options: Any) -> Any:
        """Any other command, routed by its first key."""
        return await self._translated(lambda: self._client.execute_command(*words, **options))

    async def quick(self, *words: bytes | str | int | float) -> Any:
        """As `command`, the way that steps go: for what happens all the time and is answered at once."""
        wires = self._wires
        if wires is None:
            return await self.command(*words)
        return await self._translated(lambda: wires.ask(words))

    async def _translated(self, ask: Callable[[], Awaitable[Any]]) -> Any:
        try:
            async with self._turns:
                return await ask()
        except OutOfMemoryError as error:
            raise StoreFull(str(error)) from error
        except BusyLoadingError as error:
            raise StoreLoading(str(error)) from error
        except _REFUSES as error:
            raise StoreRefuses(str(error)) from error
        except Unconnected as error:
            if isinstance(error.__cause__, BusyLoadingError):
                raise StoreLoading(str(error)) from error
            # A cluster's client tries again by itself: the first time it may have been connected.
            raise (StoreAway if self.cluster else StoreUnreached)(str(error)) from error
        except ResponseError as error:
            text = str(error).removeprefix(_DISCARDED)
            if text.startswith(("OOM", "-OOM")) or "OOM command not allowed" in text:
                raise StoreFull(text) from error
            if text.startswith(_NO_WRITES):
                raise StoreRefuses(text) from error
            if text.startswith(_NOT_NOW):
                raise StoreAway(text) from error
            raise StoreError(text) from error
        except _AWAY as error:
            raise _away(error) from error
        except (RedisError, RedisClusterException) as error:
            # A Cluster's client that reaches no node says why in the cause.
            raise (_away(error.__cause__) if isinstance(error.__cause__, _AWAY) else StoreError(str(error))) from error

    async def info(self, section: str) -> list[dict[str, Any]]:
        """What each master says of itself."""
        if not self.cluster:
            return [safety.plain(await self.command("INFO", section))]
        nodes = self._client.get_primaries()
        return [safety.plain(await self.command("INFO", section, target_nodes=node)) for node in nodes]

    async def scan(self, prefix: bytes, cursor: int, count: int) -> tuple[int, list[bytes]]:
        """A page of the keys that begin with `prefix`, which carries a hash tag; 0 = from the start, and the end."""
        pattern = prefix.replace(b"{", b"\\{") + b"*"
        words = ("SCAN", cursor, "MATCH", pattern, "COUNT", count)
        if not self.cluster:
            at, page = await self.command(*words)
            return int(at), page
        node = self._client.get_node_from_key(prefix)
        cursors, page = await self.command(*words, target_nodes=node)
        return int(cursors[node.name]), page

    def hear(self, channel: bytes, hint: Callable[[bytes], None]) -> None:
        """Call `hint` with each message published there, from `listen` on; hints may be lost."""
        self._heard.setdefault(channel, []).append(hint)

    def on_reconnect(self, hint: Callable[[], None]) -> None:
        """Call `hint` when the subscription came back: what was published meanwhile was not heard."""
        self._on_reconnect.append(hint)

    def listen(self) -> asyncio.Task[None]:
        """Start hearing; the task ends by `close` only."""
        self._subscriber = asyncio.get_running_loop().create_task(self._listen(), name="store subscriber")
        return self._subscriber

    async def _listen(self) -> None:
        while True:
            try:
                await self._hear_until_lost()
            except (RedisError, OSError) as error:
                log.debug("subscription lost: %s", error)
            await asyncio.sleep(0.1)

    async def _hear_until_lost(self) -> None:
        if self.cluster:
            node = self._client.get_random_node()
            source = redis_asyncio.Redis(host=node.host, port=node.port, **self._subscription_options())
        else:
            source = self._client
        try:
            await hear(source.connection_pool, self._heard, self._hearing, self._hint)
        finally:
            if source is not self._client:
                await source.aclose()

    def _hearing(self) -> None:
        for hint in self._on_reconnect:
            hint()

    def _hint(self, channel: bytes, message: bytes) -> None:
        for hint in self._heard.get(channel, ()):
            hint(message)

    def _subscription_options(self) -> dict[str, Any]:
        kwargs = self._client.nodes_manager.connection_kwargs
        return {name: kwargs[name] for name in ("username", "password", "socket_timeout", "protocol") if name in kwargs}

    async def close(self) -> None:
        for task in (self._subscriber, self._checking):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        if self._wires is not None:
            self._wires.close()
        try:
            await self._client.aclose()
            if not self.cluster:
                await self._client.connection_pool.disconnect()
        except (RedisError, OSError) as error:
            log.debug("closing the store connection: %s", error)
