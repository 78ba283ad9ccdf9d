"""A Cluster: each lane is in one slot, and the client library knows which master has the slot."""

from collections.abc import Awaitable, Callable, Collection, Sequence
from functools import partial
from typing import Any

import redis.asyncio as redis_asyncio
from redis.asyncio.cluster import PipelineCommand, RedisCluster

from mta.redis_store.connections import answer_raw, translating
from mta.redis_store.subscription import hear
from mta.redis_store.topology.servers import Master, OnConnect, Words, raise_first_error

_FOR_SUBSCRIPTIONS = ("username", "password", "socket_timeout", "protocol")


class Cluster:
    """Fulfils Topology."""

    resends = True
    checks_keys = True

    def __init__(self, host: str, port: int, options: dict[str, Any], on_connect: OnConnect) -> None:
        self._client: Any = RedisCluster(host=host, port=port, **options)
        nodes = self._client.nodes_manager
        kind: Any = translating(nodes.connection_kwargs["connection_class"])
        nodes.connection_kwargs |= {"redis_connect_func": on_connect, "connection_class": kind}
        answer_raw(nodes.connection_kwargs["response_callbacks"])
        for node in nodes.startup_nodes.values():
            node.connection_kwargs["redis_connect_func"] = on_connect
            node.connection_class = kind
            answer_raw(node.response_callbacks)

    async def reach(self) -> None:
        await self._client.initialize()

    async def refresh(self) -> None:
        pass  # the client does so whenever a server sends it elsewhere

    def ask(self, words: Words, key: bytes, patient: bool) -> Awaitable[Any]:
        # A client that is told the node neither looks at the keys nor sends the step again.
        asked: Awaitable[Any] = self._client.execute_command(*words, target_nodes=self._client.get_node_from_key(key))
        return asked

    def ask_with(self, words: Words, name: bytes, fields: Sequence[bytes]) -> Awaitable[Any]:
        return self.ask((*words, *fields), name, False)

    def quick(self, words: Words) -> Awaitable[Any]:
        return self.command(words)

    def command(self, words: Words) -> Awaitable[Any]:
        asked: Awaitable[Any] = self._client.execute_command(*words)
        return asked

    async def together(self, key: bytes, *commands: Words) -> list[Any]:
        sent = [PipelineCommand(at, *words) for at, words in enumerate(commands)]
        await self._client.get_node_from_key(key).execute_pipeline(sent)
        return raise_first_error([command.result for command in sent])

    def every_master(self) -> list[Master]:
        ask = self._client.execute_command
        return [
            Master(f"{node.host}:{node.port}", partial(ask, target_nodes=node)) for node in self._client.get_primaries()
        ]

    def groups(self, keys: Sequence[bytes]) -> list[list[bytes]]:
        return [[key] for key in keys]

    async def scan(self, key: bytes, words: Words) -> tuple[int, list[bytes]]:
        node = self._client.get_node_from_key(key)
        cursors, page = await self._client.execute_command(*words, target_nodes=node)
        return int(cursors[node.name]), page

    async def subscribe(
        self, channels: Collection[bytes], began: Callable[[], None], heard: Callable[[bytes, bytes], None]
    ) -> None:
        node, options = self._client.get_random_node(), self._client.nodes_manager.connection_kwargs
        known = {name: options[name] for name in _FOR_SUBSCRIPTIONS if name in options}
        source: Any = redis_asyncio.Redis(host=node.host, port=node.port, **known)
        try:
            await hear(source.connection_pool, channels, began, heard)
        finally:
            await source.aclose()

    async def close(self) -> None:
        await self._client.aclose()
