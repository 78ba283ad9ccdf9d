"""The append-only file of the server: its size, the size of the data in it, and the order to write it anew."""

from mta.redis_store.link import Link


class AppendOnlyFile:
    """Of a store that is one server."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def sizes(self) -> tuple[int, int] | None:
        """Bytes of the file and of the data; None: the server is writing it anew. Raises StoreError."""
        (found,) = await self._link.info("persistence")
        (memory,) = await self._link.info("memory")
        if found.get("aof_rewrite_in_progress") != "0":
            return None
        return int(found.get("aof_current_size", 0)), int(memory.get("used_memory_dataset", 0))

    async def rewrite(self) -> None:
        """Begin to write it anew, behind other calls. Raises StoreError."""
        await self._link.command("BGREWRITEAOF")
