"""The names of nodes as the store knows them: which node uses each, and a number that moves while that node lives."""

from typing import Protocol

import msgspec


class NodeEntry(msgspec.Struct, frozen=True):
    """The node that uses a name."""

    identity: str  # of its data folder
    run: str  # random, of each start
    beat: int  # moves while it lives
    host: str
    data_dir: str
    pid: int
    history: str = ""  # history.url without user and password; "off" = none is kept; "" = an older build, not known


class NodeNames(Protocol):
    """Every change is a compare-and-set on the entry as it was read. Raises StoreAway, StoreError."""

    async def read(self, name: str) -> tuple[bytes, NodeEntry | None]:
        """The entry as it is stored (b"" = none), and its fields (None = nothing that can be read)."""
        ...

    async def names(self) -> list[str]:
        """Those that have an entry."""
        ...

    async def write(self, name: str, seen: bytes, entry: NodeEntry | None) -> bytes | None:
        """The entry as it is stored now; None: the entry is not `seen` any more. Without `entry` it is removed."""
        ...
