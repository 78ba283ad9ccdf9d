"""The connection to the store: atomic steps called, foreign errors translated, the server's safety known."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import RedisError

from mta.model.errors import StoreAway, StoreError, StoreRefuses, StoreUnsafe
from mta.model.settings import RedisSettings
from mta.redis_store import library, safety
from mta.redis_store.replication import Failover, Replication
from mta.redis_store.store_errors import FOREIGN, store_error
from mta.redis_store.topology.choose import topology_of
from mta.redis_store.topology.servers import Master
from mta.timing.cancelling import cancel_all

log = logging.getLogger(__name__)

_CROWD: Final = 32  # calls at a time where they come by hundreds: more make none of them faster


class Link:
    """One process's way to the store. A call that fails leaves no half-read connection behind."""

    def __init__(
        self, url: str, settings: RedisSettings, password: str | None = None, *, crowded: bool = False
    ) -> None:
        """`crowded`: calls come by hundreds at once; they take turns, since the client refuses so many. Raises BadValue
        for a bad URL."""
        self._settings = settings
        self._turns = asyncio.Semaphore(_CROWD) if crowded else None
        self._run_ids: set[bytes] = set()  # of servers whose settings were checked
        self._checking: asyncio.Task[None] | None = None
        self._subscriber: asyncio.Task[None] | None = None
        self._heard: dict[bytes, list[Callable[[bytes], None]]] = {}
        self._on_reconnect: list[Callable[[], None]] = []
        self.timeout = settings.timeout  # seconds
        self.patience = settings.timeout / 2  # seconds that a command may block, since no answer is awaited longer
        self._replicas = 0  # that must have a step before `call_kept` returns
        self.unsafe = "not checked yet"  # why mail may not be accepted, "" = safe
        self._allowed = ""  # unsafe settings that are allowed, as they were told last
        self._replication = Replication()
        self._failover: Failover | None = None
        self._topology = topology_of(url, settings, password, self._on_connect)
        self.checks_keys = self._topology.checks_keys  # a step names every key then, else it may name its anchor alone

    async def _on_connect(self, connection: AbstractConnection) -> None:
        """A new connection may lead to a server that was restarted, or to another one: no mail is accepted there
        unchecked."""
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
        """Only calls of `check` and `command` may follow without `open`. Raises StoreAway."""
        await self._translated(self._topology.reach)

    async def check(self) -> None:
        """Raises StoreUnsafe naming what is wrong, unless `redis.allow_unsafe`; StoreRefuses: it takes no writes."""
        await self._translated(self._topology.refresh)
        found = await self._translated(lambda: safety.inspect(self._topology.every_master()))
        self._replicas = found.replicas
        self._failover = self._replication.look(found.histories) or self._failover
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

    def take_failover(self) -> Failover | None:
        """The last failover that a check has seen, once."""
        found, self._failover = self._failover, None
        return found

    async def ensure_safe(self) -> None:
        """At no cost while nothing changed. Raises StoreUnsafe, StoreAway."""
        if not self.unsafe:
            return
        if self._checking is None or self._checking.done():
            self._checking = asyncio.ensure_future(self.check())
        await asyncio.shield(self._checking)

    async def load_library(self) -> None:
        """Load the library on every master that lacks it. It is never replaced: its name has a hash of its text."""
        for master in self._topology.every_master():
            try:
                await self._command_at(master, "FUNCTION LOAD", library.CODE)
            except StoreError as error:
                if "already exists" not in str(error):
                    raise

    async def libraries(self) -> set[str]:
        """The names of the Functions libraries that any master has."""
        found: set[str] = set()
        for master in self._topology.every_master():
            for row in await self._command_at(master, "FUNCTION LIST"):
                said = dict(zip(row[::2], row[1::2], strict=True))
                found.add(said[b"library_name"].decode())
        return found

    async def remove_library(self, name: str) -> None:
        """Remove the library from every master that has it."""
        for master in self._topology.every_master():
            try:
                await self._command_at(master, "FUNCTION DELETE", name)
            except StoreError as error:
                if "Library not found" not in str(error):
                    raise

    async def _command_at(self, master: Master, *words: bytes | str) -> Any:
        return await self._translated(lambda: master.command(*words))

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
        `patient`: its caller is in no hurry, so it may wait for another step and share its connection. `fields`: the
        name of a hash, and field, value, ... that stand there when the step begins, or are its last arguments (see
        `Topology.ask_with`)."""
        words = ("FCALL", library.STEPS[function], len(keys), *keys, *args)
        if fields is not None:
            return await self._with_library(lambda: self._topology.ask_with(words, *fields))
        return await self._with_library(lambda: self._topology.ask(words, keys[0], patient))

    async def _with_library(self, ask: Callable[[], Awaitable[Any]]) -> Any:
        try:
            return await self._translated(ask)
        except StoreError as error:
            if "Function not found" not in str(error):
                raise
        await self.load_library()  # a master that lacks the library says so before anything ran
        return await self._translated(ask)

    async def call_kept(self, function: bytes, keys: Sequence[bytes], args: Sequence[bytes | str | int]) -> Any:
        """As `call`, and as many replicas have its writes as the server wants for a write (`min-replicas-to-write`).
        Else StoreAway: a master that lost its replicas may have a successor already, which lacks these writes."""
        if not self._replicas:
            return await self.call(function, keys, args)
        words = ("FCALL", library.STEPS[function], len(keys), *keys, *args)
        wait = ("WAIT", self._replicas, int(self._settings.timeout * 500))
        # Both over one connection: WAIT is about the writes of its own.
        answer, many = await self._with_library(lambda: self._topology.together(keys[0], words, wait))
        if many < self._replicas:
            raise StoreAway(f"{many} replicas have it, the server's min-replicas-to-write is {self._replicas}")
        return answer

    async def command(self, *words: bytes | str | int | float) -> Any:
        """Any other command, on the master of its first key."""
        return await self._translated(lambda: self._topology.command(words))

    async def quick(self, *words: bytes | str | int | float) -> Any:
        """As `command`, over the connections of steps: for frequent commands that are answered at once."""
        return await self._translated(lambda: self._topology.quick(words))

    async def _translated(self, ask: Callable[[], Awaitable[Any]]) -> Any:
        try:
            if self._turns is None:
                return await ask()
            async with self._turns:
                return await ask()
        except FOREIGN as error:
            raise store_error(error, self._topology.resends) from error

    def together(self, keys: Sequence[bytes]) -> list[list[bytes]]:
        """`keys` so that one command may name all keys of a group."""
        return self._topology.groups(keys)

    async def info(self, section: str) -> list[dict[str, Any]]:
        """The section of INFO of each master."""
        masters = self._topology.every_master()
        return [safety.plain(await self._command_at(master, "INFO", section)) for master in masters]

    async def scan(self, prefix: bytes, cursor: int, count: int) -> tuple[int, list[bytes]]:
        """A page of the keys that begin with `prefix`, which carries a hash tag; 0 = from the start, and the end."""
        pattern = prefix.replace(b"{", b"\\{") + b"*"
        words = ("SCAN", cursor, "MATCH", pattern, "COUNT", count)
        found: tuple[int, list[bytes]] = await self._translated(lambda: self._topology.scan(prefix, words))
        return found

    def hear(self, channel: bytes, hint: Callable[[bytes], None]) -> None:
        """Call `hint` with each message published there, from `listen` on; hints may be lost."""
        self._heard.setdefault(channel, []).append(hint)

    def on_reconnect(self, hint: Callable[[], None]) -> None:
        """Call `hint` when the subscription came back: messages published meanwhile were not heard."""
        self._on_reconnect.append(hint)

    def listen(self) -> asyncio.Task[None]:
        """Start hearing; the task ends by `close` only."""
        self._subscriber = asyncio.get_running_loop().create_task(self._listen(), name="store subscriber")
        return self._subscriber

    async def _listen(self) -> None:
        while True:
            try:
                await self._topology.subscribe(self._heard, self._hearing, self._hint)
            except (RedisError, OSError) as error:
                log.debug("subscription lost: %s", error)
            await asyncio.sleep(0.1)

    def _hearing(self) -> None:
        for hint in self._on_reconnect:
            hint()

    def _hint(self, channel: bytes, message: bytes) -> None:
        for hint in self._heard.get(channel, ()):
            hint(message)

    async def close(self) -> None:
        tasks = [task for task in (self._subscriber, self._checking) if task is not None]
        await cancel_all(tasks)
        await asyncio.gather(*tasks, return_exceptions=True)
        try:
            await self._topology.close()
        except (RedisError, OSError) as error:
            log.debug("closing the store connection: %s", error)
