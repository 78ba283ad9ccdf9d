"""Answers to orders that came with an idempotency key: a repeat gets the answer of the first."""

from typing import Protocol

from mta.model.idempotency import IdempotencyKey


class KeptAnswers(Protocol):
    """Orders with a key, in the store. `owner` is a random name of the request that works on one. Raises StoreError."""

    async def claim(self, key: IdempotencyKey, owner: str) -> bytes | None:
        """None: the caller is to carry the order out; the claim holds for `CLAIM` seconds, and to claim it again renews
        it. Else the answer that is kept. Raises KeyRefusal: the order is under way, another one had the key, or there
        is no room for a new key."""
        ...

    async def keep(self, key: IdempotencyKey, owner: str, answer: bytes) -> None:
        """The order has this answer from now on, for the window of keys, if the owner's claim holds."""
        ...

    async def leave(self, key: IdempotencyKey, owner: str) -> None:
        """The order had no effect: whoever repeats it may carry it out."""
        ...
