"""One server that has every key."""

from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any, Final

import redis.asyncio as redis_asyncio
from redis.asyncio.connection import ConnectionPool

from mta.redis_store.connections import answer_raw
from mta.redis_store.step_connections import StepConnections
from mta.redis_store.subscription import hear
from mta.redis_store.topology.servers import Master, Words, raise_first_error

_LIGHT: Final = 128 * 1024  # bytes that cost less on their way through Lua than the answers of a transaction do


class OneServer:
    """Fulfils Topology. `pool` makes connections to the server."""

    resends = False
    checks_keys = False

    def __init__(self, pool: ConnectionPool, timeout: float) -> None:
        self.pool = pool
        self.client: Any = redis_asyncio.Redis(connection_pool=pool)
        answer_raw(self.client.response_callbacks)
        self._steps = StepConnections(pool, timeout)

    async def reach(self) -> None:
        pass

    async def refresh(self) -> None:
        pass

    def ask(self, words: Words, key: bytes, patient: bool) -> Awaitable[Any]:
        return self._steps.ask(words, patient=patient)

    def ask_with(self, words: Words, name: bytes, fields: Sequence[bytes]) -> Awaitable[Any]:
        if sum(map(len, fields)) > _LIGHT:
            return self._steps.ask_at_once(("HSET", name, *fields), words)
        return self._steps.ask((*words, *fields))

    def quick(self, words: Words) -> Awaitable[Any]:
        return self._steps.ask(words)

    def command(self, words: Words) -> Awaitable[Any]:
        asked: Awaitable[Any] = self.client.execute_command(*words)
        return asked

    async def together(self, key: bytes, *commands: Words) -> list[Any]:
        pipe = self.client.pipeline(transaction=False)
        for words in commands:
            pipe.execute_command(*words)
        return raise_first_error(await pipe.execute(raise_on_error=False))

    def every_master(self) -> list[Master]:
        return [Master("", self.client.execute_command)]

    def groups(self, keys: Sequence[bytes]) -> list[list[bytes]]:
        return [list(keys)]

    async def scan(self, key: bytes, words: Words) -> tuple[int, list[bytes]]:
        cursor, page = await self.client.execute_command(*words)
        return int(cursor), page

    async def subscribe(
        self, channels: Collection[bytes], began: Callable[[], None], heard: Callable[[bytes, bytes], None]
    ) -> None:
        await hear(self.pool, channels, began, heard)

    async def close(self) -> None:
        self._steps.close()
        await self.client.aclose()
        await self.pool.disconnect()
