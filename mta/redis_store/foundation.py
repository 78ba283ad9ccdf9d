"""The identity of a store: an id that is written when it is created, by which a store that was emptied is noticed."""

import secrets

from mta.model.events import Event
from mta.redis_store import codec, keys
from mta.redis_store.link import Link
from mta.timing.clock import wall_ms

_ID = b"id"
_EMPTIED_AT = b"emptied_at"


class Foundation:
    """Fulfils ports.access.StoreFate."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def store_id(self) -> str:
        """ "" where the store has none: it is empty, or an earlier release made it."""
        found = await self._link.command("HGET", keys.META_SETTINGS, _ID)
        return found.decode() if found else ""

    async def found(self) -> str:
        """The id of the store, which gets one where it has none."""
        await self._link.command("HSETNX", keys.META_SETTINGS, _ID, secrets.token_hex(8))
        return await self.store_id()

    async def note_emptied(self, event: Event) -> None:
        """Keep in the store, until it is acknowledged, that it was found emptied. The first node that says so appends
        `event`, so that a cluster logs it once."""
        at = wall_ms()
        if await self._link.command("HSETNX", keys.META_SETTINGS, _EMPTIED_AT, at):
            await self._link.call(
                b"note", [keys.lane_key(0, b"lane"), keys.lane_key(0, b"events")], [codec.encode(event)]
            )

    async def emptied_at(self) -> int:
        return int(await self._link.command("HGET", keys.META_SETTINGS, _EMPTIED_AT) or 0)

    async def acknowledge(self) -> int:
        at = await self.emptied_at()
        if at:
            await self._link.command("HDEL", keys.META_SETTINGS, _EMPTIED_AT)
        return at
