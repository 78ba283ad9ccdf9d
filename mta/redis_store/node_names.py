"""The names of nodes as the store knows them: which node uses each, and a number that moves while that node lives."""

import msgspec

from mta.redis_store import keys
from mta.redis_store.link import Link


class NodeEntry(msgspec.Struct, frozen=True):
    """The node that uses a name."""

    identity: str  # of its data folder
    run: str  # random, of each start
    beat: int  # moves while it lives
    host: str
    data_dir: str
    pid: int


_decoder = msgspec.json.Decoder(NodeEntry)


class StoredNodeNames:
    """Every change is a compare-and-set on the entry as it was read. Raises StoreAway, StoreError."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def read(self, name: str) -> tuple[bytes, NodeEntry | None]:
        """The entry as it is stored (b"" = none), and what it says (None = nothing that can be read)."""
        raw = await self._link.command("HGET", keys.META_NODES, name) or b""
        try:
            return raw, _decoder.decode(raw) if raw else None
        except msgspec.DecodeError:
            return raw, None

    async def write(self, name: str, seen: bytes, entry: NodeEntry | None) -> bytes | None:
        """The entry as it is stored now; None: it is no more as it was seen. Without `entry` it is removed."""
        raw = msgspec.json.encode(entry) if entry is not None else b""
        done = await self._link.call(b"node_name", [keys.META_NODES], [name, seen, raw])
        return raw if done else None
