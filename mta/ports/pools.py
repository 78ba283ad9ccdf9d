"""The IP pools that all nodes share."""

from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

from mta.model.pools import SharedPool


class SharedPools(NamedTuple):
    """The pools of the cluster, by name."""

    version: bytes  # "<number>|<random>": another one with each change
    pools: Mapping[str, SharedPool]

    @property
    def number(self) -> int:
        """Of the changes so far."""
        return int(self.version.partition(b"|")[0])


class PoolStore(Protocol):
    """Each call raises StoreAway, StoreError. A call may be repeated."""

    async def shared(self) -> SharedPools:
        """The pools as they stand."""
        ...

    async def changed(self, since: bytes) -> SharedPools | None:
        """The pools; None: their version is `since`."""
        ...

    async def put(self, name: str, pool: SharedPool | None, seen: bytes) -> bool:
        """Keep the pool in place of one of that name, or remove that one (None). False: the version of the pools is not
        `seen` any more. Raises BadValue: there are too many."""
        ...

    def on_change(self, hook: Callable[[], None]) -> None:
        """`hook` is called when the pools may have changed."""
        ...
