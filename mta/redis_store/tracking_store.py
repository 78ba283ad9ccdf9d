"""The secret of the links of tracked mail, opens and clicks, and the clicks of each link by day."""

import secrets
from collections.abc import Mapping, Sequence
from typing import Final

from mta.model.events import Event
from mta.model.ids import lane_of
from mta.ports.secrets import Sealer
from mta.ports.tracking import LinkCount, LinkDay
from mta.redis_store import codec, keys
from mta.redis_store.link import Link

_ABOUT: Final = "tracking"
_FIELD: Final = "tracking"
_KEY_SIZE: Final = 32
_KEPT: Final = 30 * 86_400  # seconds
_MOST_LINKS: Final = 100_000  # of one day; others count for the link "*"
_MOST_DAYS: Final = 31
_AT_ONCE: Final = 100


class StoredTrackingKey:
    """Fulfils ports.tracking.TrackingKeys."""

    def __init__(self, link: Link, sealer: Sealer) -> None:
        self._link = link
        self._sealer = sealer
        self._key: bytes | None = None

    async def key(self) -> bytes:
        if self._key is None:
            sealed = await self._stored()
            if sealed is None:
                fresh = await self._sealer.seal(secrets.token_bytes(_KEY_SIZE), _ABOUT)
                await self._link.command("HSETNX", keys.META_SETTINGS, _FIELD, fresh)
                sealed = await self._stored()
                assert sealed is not None
            self._key = self._sealer.open(sealed, _ABOUT)
        return self._key

    async def _stored(self) -> bytes | None:
        found: bytes | None = await self._link.command("HGET", keys.META_SETTINGS, _FIELD)
        return found


class StoredEngagement:
    """Fulfils ports.tracking.EngagementStore."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def note(self, events: Sequence[Event]) -> None:
        by_lane: dict[int, list[bytes]] = {}
        for event in events:
            assert event.id is not None
            by_lane.setdefault(lane_of(event.id), []).append(codec.encode(event))
        for lane, encoded in by_lane.items():
            names = [keys.lane_key(lane, b"lane"), keys.lane_key(lane, b"events")]
            for at in range(0, len(encoded), _AT_ONCE):
                await self._link.call(b"engaged", names, encoded[at : at + _AT_ONCE])

    async def add_clicks(self, day: int, counts: Mapping[LinkCount, int]) -> None:
        key = keys.links_key(day)
        is_full = await self._link.command("HLEN", key) >= _MOST_LINKS
        items = [(_field(one._replace(link="*") if is_full else one), many) for one, many in counts.items()]
        for at in range(0, len(items), _AT_ONCE):
            args: list[bytes | str | int] = [_KEPT]
            for field, many in items[at : at + _AT_ONCE]:
                args += (field, many)
            await self._link.call(b"link_count", [key], args)

    async def add_dropped(self, events: int) -> None:
        await self._link.command("INCRBY", keys.LINKS_DROPPED, events)

    async def dropped(self) -> int:
        return int(await self._link.command("GET", keys.LINKS_DROPPED) or 0)

    async def click_days(self, first: int, last: int) -> list[LinkDay]:
        found = []
        for day in range(max(first, last - _MOST_DAYS), last + 1):
            answer = await self._link.command("HGETALL", keys.links_key(day))
            pairs = zip(answer[::2], answer[1::2], strict=True)
            clicks = {_count(field.decode()): int(many) for field, many in pairs}
            if clicks:
                found.append(LinkDay(day, clicks))
        return found


def _field(one: LinkCount) -> str:
    return f"{one.tenant} {one.is_machine:d} {one.link}"


def _count(field: str) -> LinkCount:
    tenant, is_machine, link = field.split(" ", 2)
    return LinkCount(tenant, link, is_machine == "1")
