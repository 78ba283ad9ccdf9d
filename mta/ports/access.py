"""API tokens, the live tail, and the note that the store was emptied; raises StoreAway, StoreError."""

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from mta.model.api_tokens import ApiToken


class StoredToken(NamedTuple):
    """A token, and the SHA-256 of its text."""

    token: ApiToken
    digest: bytes


class TokenTable(NamedTuple):
    """All tokens at one moment."""

    version: bytes  # another one after each change
    admin: tuple[bytes, ...]  # digests (32 bytes each) of the secrets that may do everything
    tokens: Mapping[str, StoredToken]  # by id


class Tokens(Protocol):
    """API tokens, of which only SHA-256 digests are kept."""

    async def version(self) -> bytes:
        """That of the table as it stands."""
        ...

    async def load(self) -> TokenTable: ...

    async def put(self, token: ApiToken, digest: bytes) -> None:
        """Keep a new token. Raises BadValue: there are too many."""
        ...

    async def remove(self, token_id: str) -> None:
        """Nothing happens where there is none."""
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

    async def lacks(self, tail_id: str) -> bool:
        """Whether events behind that id may be missing: they were dropped since, or nobody watched for a while."""
        ...

    async def newest(self) -> str:
        """The tail id from which on nothing is known yet."""
        ...

    async def follow(self, after: str, most: int, seconds: float) -> list[tuple[str, bytes]]:
        """(tail id, log line) beyond the tail id `after`, waiting up to `seconds` for the first."""
        ...
