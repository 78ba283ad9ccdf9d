"""The libraries of atomic steps that the store's servers have."""

from mta.redis_store import library
from mta.redis_store.link import Link


class StoredLibraries:
    """The libraries of this program's builds; those of other programs are never named."""

    current = library.NAME  # that of this build

    def __init__(self, link: Link) -> None:
        self._link = link

    async def names(self) -> set[str]:
        """Raises StoreError."""
        return {name for name in await self._link.libraries() if library.is_ours(name)}

    async def remove(self, name: str) -> None:
        """On every master that has it. Raises StoreError."""
        await self._link.remove_library(name)
