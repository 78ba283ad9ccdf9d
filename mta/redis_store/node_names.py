"""The names of nodes in `{meta}`."""

import msgspec

from mta.ports.node_names import NodeEntry
from mta.redis_store import keys
from mta.redis_store.link import Link

_decoder = msgspec.json.Decoder(NodeEntry)


class StoredNodeNames:
    """Fulfils ports.node_names.NodeNames."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def read(self, name: str) -> tuple[bytes, NodeEntry | None]:
        raw = await self._link.command("HGET", keys.META_NODES, name) or b""
        try:
            return raw, _decoder.decode(raw) if raw else None
        except msgspec.DecodeError:
            return raw, None

    async def names(self) -> list[str]:
        return [name.decode() for name in await self._link.command("HKEYS", keys.META_NODES)]

    async def write(self, name: str, seen: bytes, entry: NodeEntry | None) -> bytes | None:
        raw = msgspec.json.encode(entry) if entry is not None else b""
        done = await self._link.call(b"node_name", [keys.META_NODES], [name, seen, raw])
        return raw if done else None
