"""Connection slots and rate tokens of sites, shared by all processes, owned by sessions."""

from collections.abc import Sequence
from typing import Final

from mta.ports.delivery import HeldSlots, SlotsWanted, TokensTaken, WarmUpGiven
from mta.redis_store import keys
from mta.redis_store.link import Link
from mta.redis_store.session import StoreSession

_REMEMBERED_MS: Final = 30 * 86_400_000  # an IP that sends nothing to a site for so long begins its warm-up anew


class StoredLimits:
    """Fulfils ports.delivery.LimitStore and WarmUpStore."""

    def __init__(self, link: Link, session: StoreSession) -> None:
        self._link = link
        self._session = session
        self._known: set[bytes] = set()

    async def hold_slots(self, site: str, wanted: Sequence[SlotsWanted]) -> HeldSlots:
        names = [keys.slots_name(site, scope) for scope, _, _, _ in wanted]
        unknown = [name for name in names if name not in self._known]
        if unknown:
            # Noted first, so that the slots of a dead session are found.
            await self._link.command("SADD", keys.META_LIMITS, *unknown)
            self._known.update(unknown)
        args: list[bytes | str | int] = [self._session.id, site]
        for _, limit, most, least in wanted:
            args += (limit, most, least)
        all_keys = [keys.slots_wanted_key(site), *map(keys.slots_key, names)]
        binds, *held = await self._link.call(b"limits_hold", all_keys, args)
        return HeldSlots(list(map(int, held)), int(binds) - 1 if binds else None)

    async def holders(self) -> set[str]:
        found: set[bytes] = set()
        for name in await self._link.command("SMEMBERS", keys.META_LIMITS):
            found.update(await self._link.command("HKEYS", keys.slots_key(name)))
        return {session.decode() for session in found}

    async def forget(self, session: str) -> None:
        """All slots of a dead session are free again."""
        for name in await self._link.command("SMEMBERS", keys.META_LIMITS):
            await self._link.command("HDEL", keys.slots_key(name), session)

    async def take_warm_up(
        self, site: str, ip: str, date: int, told: tuple[int, int, int], wanted: int, schedule: Sequence[int]
    ) -> WarmUpGiven:
        args: list[bytes | str | int] = [date, *told, wanted, _REMEMBERED_MS, *schedule]
        day, messages, granted = await self._link.call(b"warmup_take", [keys.warm_up_key(site, ip)], args)
        return WarmUpGiven(int(day), int(messages), int(granted))

    async def take_tokens(
        self, site: str, kind: str, scopes: Sequence[tuple[str, float]], most: int, ahead_ms: float
    ) -> TokensTaken:
        rates = [keys.rate_key(site, scope, kind) for scope, _ in scopes]
        args: list[bytes | str | int] = [most, f"{ahead_ms:.3f}", *(f"{interval:.3f}" for _, interval in scopes)]
        now, first, many, binds = await self._link.call(b"limits_tokens", rates, args)
        return TokensTaken(int(now), float(first), int(many), int(binds) - 1)
