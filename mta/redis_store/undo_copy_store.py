"""The copies of intercepted deliveries that are kept for an undo: read, reinstated, dropped."""

from collections.abc import Sequence
from typing import Final

from mta.model.ids import DeliveryId
from mta.model.mail import QueueKey
from mta.model.outcomes import Stage
from mta.model.shares import place_of, split_place
from mta.ports.undo import Reinstatement, UndoCopy
from mta.redis_store import codec, keys
from mta.redis_store.link import Link
from mta.redis_store.steps import undo
from mta.timing.clock import wall_ms

_STAGES: Final = {stage.value[0]: stage for stage in Stage}
_REINSTATE_KEYS: Final = (b"spares", b"rec", b"count", b"events", b"pools")


class StoredUndoCopies:
    """Fulfils ports.undo.UndoCopyStore."""

    def __init__(self, link: Link, lanes: int, undo_window: float) -> None:
        """`undo_window` in seconds: how long ago a delivery with a copy may have ended."""
        self.lanes = lanes
        self._link = link
        self._hours = int(undo_window // 3600) + 2

    async def rules(self, lane: int) -> list[str]:
        return [member.decode() for member in await self._link.command("SMEMBERS", keys.lane_key(lane, b"spares"))]

    async def copies(self, lane: int, rule: str, most: int) -> list[UndoCopy]:
        prefix = keys.lane_prefix(lane)
        step_keys = [prefix + b"lane", keys.spared_key(prefix, rule.encode()), prefix + b"rec"]
        answer = await self._link.call(b"first", step_keys, [f"({wall_ms()}", most])
        return [_copy(*answer[at : at + 3]) for at in range(1, len(answer), 3)]

    async def kept(self, lane: int, rule: str, some: Sequence[UndoCopy]) -> set[DeliveryId]:
        key = keys.spared_key(keys.lane_prefix(lane), rule.encode())
        untils = await self._link.command("ZMSCORE", key, *map(_member, some))
        return {one.id for one, until in zip(some, untils, strict=True) if until is not None}

    async def count(self, rule: str, now_ms: int) -> int:
        total = 0
        for lane in range(self.lanes):
            key = keys.spared_key(keys.lane_prefix(lane), rule.encode())
            total += int(await self._link.command("ZCOUNT", key, f"({now_ms}", "+inf"))
        return total

    async def until(self, rule: str, now_ms: int) -> int:
        firsts = []
        for lane in range(self.lanes):
            key = keys.spared_key(keys.lane_prefix(lane), rule.encode())
            words = ("ZRANGE", key, f"({now_ms}", "+inf", "BYSCORE", "LIMIT", 0, 1, "WITHSCORES")
            firsts += (await self._link.command(*words))[1:]
        return min((int(float(until)) for until in firsts), default=0)

    async def reinstate(self, lane: int, rule: str, some: Sequence[Reinstatement]) -> int:
        prefix = keys.lane_prefix(lane)
        queues = {of: number for number, of in enumerate({(one.copy.queue, one.copy.share) for one in some}, 1)}
        names = {keys.tag_key(prefix, tag.encode()) for one in some for tag in one.copy.record.counted_tags}
        for queue, share in queues:
            names.update(keys.queue_keys(prefix, queue, share))
        step_keys = [prefix + b"lane", keys.spared_key(prefix, rule.encode())]
        step_keys += [prefix + name for name in _REINSTATE_KEYS]
        step_keys += [keys.rule_key(prefix, rule.encode()), *names]
        text = codec.lua_text
        items = [
            undo.Item(
                id=text(one.copy.id),
                queue=queues[one.copy.queue, one.copy.share],
                stage=one.copy.stage.value,
                uncertain=one.copy.uncertain,
                tags=one.copy.record.counted_tags,
                record=text(codec.encode_record(one.record, one.copy.reclaims)),
                event=text(one.event),
                due=one.due_at,
            )
            for one in some
        ]
        places = [(place_of(queue.pool, share), queue.domain) for queue, share in queues]
        blob = codec.encode(undo.Batch(rule=rule, hours=self._hours, queues=places, items=items))
        return int(await self._link.call(b"reinstate", step_keys, [blob, wall_ms()]))

    async def drop(self, lane: int, rule: str, most: int, early: bool = False) -> int:
        prefix = keys.lane_prefix(lane)
        step_keys = [prefix + b"lane", keys.spared_key(prefix, rule.encode())]
        step_keys += [prefix + name for name in (b"spares", b"rec", b"content", b"refs")]
        return int(await self._link.call(b"drop_spared", step_keys, [rule, most, "1" if early else "", wall_ms()]))


def _member(copy: UndoCopy) -> bytes:
    """As the steps write it."""
    flags = copy.stage.value[0] + ("1" if copy.uncertain else "0")
    return copy.id + f"{flags}{place_of(copy.queue.pool, copy.share)}|{copy.queue.domain}".encode()


def _copy(member: bytes, until: bytes, raw: bytes) -> UndoCopy:
    """The record was readable when it was intercepted."""
    reclaims, record = codec.decode_record(raw)
    place, _, domain = member[20:].decode().partition("|")
    pool, share = split_place(place)
    stage, uncertain = _STAGES[chr(member[18])], member[19:20] == b"1"
    return UndoCopy(
        DeliveryId(member[:18]), QueueKey(pool, domain), stage, uncertain, int(float(until)), record, reclaims, share
    )
