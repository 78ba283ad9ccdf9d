"""Answers to orders with an idempotency key, each in the lane of its key."""

from collections.abc import Sequence
from functools import partial
from typing import Final

from mta.model.idempotency import CONTENT_BYTES, IdempotencyKey
from mta.ports.certainty import made_certain
from mta.ports.idempotency import KeyRefusal, KeyTrouble
from mta.redis_store import keys
from mta.redis_store.link import Link

CLAIM: Final = 60  # seconds that a claim holds
_UNDER_WAY: Final = b"."


class StoredAnswers:
    """Fulfils ports.kept_answers.KeptAnswers."""

    def __init__(self, link: Link, lanes: int, window: float, memory: int) -> None:
        """`window` is in seconds; `memory`: bytes that keys may take in all lanes."""
        self._link = link
        self._lanes = lanes
        self._window_ms = int(window * 1000)
        self._most = memory // lanes

    async def claim(self, key: IdempotencyKey, owner: str) -> bytes | None:
        args: list[bytes | str | int] = [key.content, owner, CLAIM * 1000, self._most]
        stands = await self._link.call_kept(b"answer_claim", self._keys(key), args)
        if stands == 1:
            return None
        if stands == 0:
            raise KeyRefusal(KeyTrouble.NO_ROOM)
        if stands[:CONTENT_BYTES] != key.content:
            raise KeyRefusal(KeyTrouble.OTHER_CONTENT)
        if stands[CONTENT_BYTES : CONTENT_BYTES + 1] == _UNDER_WAY:
            raise KeyRefusal(KeyTrouble.UNDER_WAY)
        return bytes(stands[CONTENT_BYTES + 1 :])

    async def keep(self, key: IdempotencyKey, owner: str, answer: bytes) -> None:
        args: list[bytes | str | int] = [key.content, owner, answer, self._window_ms]
        ask = partial(self._link.call_kept, b"answer_keep", self._keys(key), args)
        await made_certain(ask, ask, self._link.timeout)

    async def leave(self, key: IdempotencyKey, owner: str) -> None:
        await self._link.call(b"answer_leave", self._keys(key)[:2], [key.content, owner])

    def _keys(self, key: IdempotencyKey) -> Sequence[bytes]:
        prefix = keys.lane_prefix(key.lane(self._lanes))
        return prefix + b"lane", keys.answer_key(prefix, key.name), keys.idem_use_key(prefix)
