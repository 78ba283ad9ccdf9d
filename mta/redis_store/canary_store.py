"""Canary orders beside the rule table: the lease of their turn, and the last of them."""

from typing import Final

import msgspec

from mta.model.canaries import CanaryFlight
from mta.redis_store import keys
from mta.redis_store.link import Link

_KEPT: Final = 3600  # seconds

_decoder: Final = msgspec.json.Decoder(CanaryFlight)


class StoredCanaries:
    """Fulfils ports.canaries.Canaries."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def turn(self, node: str, period: float) -> float:
        if await self._link.command("SET", keys.RULES_CANARY, node, "NX", "PX", int(period * 1000)):
            return 0.0
        left = int(await self._link.command("PTTL", keys.RULES_CANARY))
        return max(0.001, left / 1000)  # -2: it is over by now

    async def save(self, flight: CanaryFlight) -> None:
        await self._link.command("SET", keys.RULES_CANARY_LAST, msgspec.json.encode(flight), "EX", _KEPT)

    async def last(self) -> CanaryFlight | None:
        raw = await self._link.command("GET", keys.RULES_CANARY_LAST)
        return None if raw is None else _decoder.decode(raw)
