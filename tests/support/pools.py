"""The pools of a cluster, in memory."""

from collections.abc import Callable

from mta.model.pools import SharedPool
from mta.ports.pools import SharedPools


class Pools:
    """Fulfils ports.pools.PoolStore."""

    def __init__(self) -> None:
        self.pools: dict[str, SharedPool] = {}
        self.number = 0
        self.races = 0  # so many changes of others come just before the next ones
        self._hooks: list[Callable[[], None]] = []

    async def shared(self) -> SharedPools:
        return SharedPools(b"%d|" % self.number, dict(sorted(self.pools.items())))

    async def changed(self, since: bytes) -> SharedPools | None:
        found = await self.shared()
        return None if found.version == since else found

    async def put(self, name: str, pool: SharedPool | None, seen: bytes) -> bool:
        if self.races:
            self.races -= 1
            self.number += 1
        if seen != (await self.shared()).version:
            return False
        if pool is None:
            self.pools.pop(name, None)
        else:
            self.pools[name] = pool
        self.number += 1
        for hook in self._hooks:
            hook()
        return True

    def on_change(self, hook: Callable[[], None]) -> None:
        self._hooks.append(hook)
