"""Secrets of the cluster: sealed before they are stored, opened where they are used."""

from typing import Protocol


class Sealer(Protocol):
    """Seals with the key of the cluster, which all nodes have. Raises SealError: this node has no key, or another one,
    or the secret is damaged."""

    async def seal(self, secret: bytes, about: str) -> bytes:
        """`about` says what the secret belongs to, such as "dkim:<id>"; only under the same words can it be opened.
        The first call in a cluster makes its key. Raises StoreError as well."""
        ...

    def open(self, sealed: bytes, about: str) -> bytes: ...
