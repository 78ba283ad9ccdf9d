"""The replies that reactions count, in the slot of their site, and wishes for pauses in `{meta}`."""

from collections.abc import Sequence
from typing import Final

import msgspec

from mta.model.reactions import PauseWish
from mta.ports.reactions import Counted
from mta.redis_store import keys
from mta.redis_store.link import Link

_SHOWN: Final = 10  # replies of an answer

_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(PauseWish).decode


class StoredReactions:
    """Fulfils ports.reactions.ReactionStore."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def seen(self, counted: Counted, replies: Sequence[str], needed: int, window_ms: int) -> list[str]:
        key = keys.reaction_key(*counted)
        args: list[bytes | str | int] = [needed, window_ms, _SHOWN, *replies[-needed:]]
        found = await self._link.call(b"reaction_seen", [key, key + b":acting"], args)
        return [raw.partition(b" ")[2].decode("utf-8", "replace") for raw in found]

    async def acted(self, counted: Counted) -> None:
        await self._link.command("DEL", keys.reaction_key(*counted))

    async def wish(self, wish: PauseWish) -> None:
        await self._link.command("HSET", keys.META_PAUSE_WISHES, wish.id, _encode(wish))

    async def wishes(self) -> list[PauseWish]:
        return [_decode(raw) for raw in await self._link.command("HVALS", keys.META_PAUSE_WISHES)]

    async def fulfilled(self, wish: PauseWish) -> None:
        if await self._link.command("HGET", keys.META_PAUSE_WISHES, wish.id) == _encode(wish):
            await self._link.command("HDEL", keys.META_PAUSE_WISHES, wish.id)
