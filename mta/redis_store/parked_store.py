"""Parked mail in its lanes: listed, put back into its queues, and given up where nobody can read it."""

import contextlib
from collections.abc import Sequence

from mta.model.entries import framed
from mta.model.ids import DeliveryId
from mta.model.mail import QueueKey
from mta.model.shares import place_of, split_place
from mta.ports.parked import ParkedDelivery, ParkedPlace, PlannedDrop, PlannedRelease
from mta.redis_store import codec, keys
from mta.redis_store.each_lane import each_lane
from mta.redis_store.link import Link
from mta.redis_store.steps.parked import Drop, DropItem, Release, ReleaseItem


class StoredParked:
    """Fulfils ports.parked.ParkedStore."""

    def __init__(self, link: Link, lanes: int, retention: float) -> None:
        self._link = link
        self._lanes = range(lanes)
        self._retention_ms = int(retention * 1000)

    async def behind(self, place: ParkedPlace, most: int) -> list[ParkedDelivery]:
        async def of_lane(lane: int) -> list[ParkedDelivery]:
            prefix = keys.lane_prefix(lane)
            step_keys = [prefix + b"lane", prefix + b"rec", prefix + b"parked"]
            (rows,) = await self._link.call(b"waiting_behind", step_keys, [most, place.since, place.id])
            return [_parked(*rows[at : at + 3]) for at in range(0, len(rows), 3)]

        whole = [one for lane in await each_lane(self._lanes, of_lane) for one in lane]
        return sorted(whole, key=lambda one: (one.since, one.id))[:most]

    async def release(self, lane: int, now: int, some: Sequence[PlannedRelease]) -> list[bool]:
        prefix, text = keys.lane_prefix(lane), codec.lua_text
        step_keys = {prefix + name for name in (b"parked", b"rec", b"count", b"events")}
        items = []
        for parked, record, _ in some:
            step_keys.update(keys.queue_keys(prefix, parked.queue, parked.share))
            step_keys.update(keys.tag_key(prefix, tag.encode()) for tag in record.counted_tags)
            items.append(
                ReleaseItem(
                    id=text(parked.id),
                    place=place_of(parked.queue.pool, parked.share),
                    domain=parked.queue.domain,
                    raw=text(parked.raw),
                    record=text(codec.encode_record(record, 0)),
                    tags=record.counted_tags,
                    uncertain=record.uncertain,
                )
            )
        args = [codec.encode(Release(now, items)), framed([one.event for one in some])]
        return _went(await self._link.call(b"unpark", [prefix + b"lane", *sorted(step_keys)], args))

    async def drop(self, lane: int, some: Sequence[PlannedDrop]) -> list[bool]:
        prefix, text = keys.lane_prefix(lane), codec.lua_text
        names = (b"lane", b"parked", b"rec", b"content", b"refs", b"count", b"events", b"cancels")
        items = [
            DropItem(
                id=text(parked.id),
                place=place_of(parked.queue.pool, parked.share),
                domain=parked.queue.domain,
                raw=text(parked.raw),
                final=text(b"c:1\0" + final),
            )
            for parked, _, final in some
        ]
        args = [codec.encode(Drop(self._retention_ms, items)), framed([one.event for one in some])]
        return _went(await self._link.call(b"drop_parked", [prefix + name for name in names], args))


def _went(answer: bytes) -> list[bool]:
    return [said == ord("1") for said in answer]


def _parked(member: bytes, score: bytes, raw: bytes) -> ParkedDelivery:
    place, _, domain = member[18:].decode().partition("|")
    pool, share = split_place(place)
    record = None
    with contextlib.suppress(*codec.UNREADABLE):
        _, record = codec.decode_record(raw)
    return ParkedDelivery(DeliveryId(member[:18]), QueueKey(pool, domain), share, int(float(score)), record, raw)
