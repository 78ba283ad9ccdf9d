"""API tokens, the live tail, and the note that the store was emptied; raises StoreAway, StoreError."""

from typing import Protocol


class Tokens(Protocol):
    """API tokens, of which only SHA-256 digests are kept."""

    async def admin_hashes(self) -> list[bytes]:
        """Digests (32 bytes each) of the secrets that may do everything."""
        ...


class StoreFate(Protocol):
    """Whether the store was found emptied, and whether an operator knows."""

    async def emptied_at(self) -> int:
        """Unix ms of when that was noticed, 0 = not, or acknowledged since."""
        ...

    async def acknowledge(self) -> int:
        """Notes that an operator knows: returns `emptied_at`, which is 0 from now on."""
        ...


class LiveEvents(Protocol):
    """The live tail, as a watcher sees it; the journal feeds it only while somebody watches."""

    async def watch(self) -> None:
        """Somebody watches for the next minute."""
        ...

    async def newest(self) -> str:
        """The tail id from which on nothing is known yet."""
        ...

    async def follow(self, after: str, most: int, seconds: float) -> list[tuple[str, bytes]]:
        """(tail id, log line) beyond the tail id `after`, waiting up to `seconds` for the first."""
        ...
