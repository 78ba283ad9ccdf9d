"""Queues as a sweep walks over them, and how far it is."""

from collections.abc import Sequence

import msgspec

from mta.model.ids import DeliveryId
from mta.model.mail import QueueKey
from mta.ports.rules import InterceptAnswer, Match, Queued, SweepState
from mta.redis_store import codec, keys
from mta.redis_store.link import Link

_state_decoder = msgspec.msgpack.Decoder(SweepState)


class StoredSweeps:
    """Fulfils ports.rules.SweepStore."""

    def __init__(self, link: Link, lanes: int, retention: float) -> None:
        self.lanes = lanes
        self._link = link
        self._retention_ms = int(retention * 1000)

    async def pools(self) -> list[str]:
        found: set[bytes] = set()
        for lane in range(self.lanes):
            found.update(await self._link.command("SMEMBERS", keys.lane_key(lane, b"pools")))
        return sorted(name.decode() for name in found)

    async def queues(self, lane: int, pool: str) -> list[QueueKey]:
        domains = await self._link.command("ZRANGE", keys.agenda_key(keys.lane_prefix(lane), pool.encode()), 0, -1)
        return [QueueKey(pool, domain.decode()) for domain in domains]

    async def scan(self, lane: int, queue: QueueKey, cursor: int, most: int) -> tuple[int, list[Queued]]:
        prefix = keys.lane_prefix(lane)
        step_keys = [
            prefix + b"lane",
            keys.due_key(prefix, queue.pool.encode(), queue.domain.encode()),
            prefix + b"rec",
        ]
        answer = await self._link.call(b"fg1_scan", step_keys, [cursor, most])
        found = []
        for at in range(1, len(answer), 2):
            try:
                reclaims, record = codec.decode_record(answer[at + 1])
            except codec.UNREADABLE:
                continue  # unreadable: it is parked when it is claimed
            found.append(Queued(DeliveryId(answer[at]), record, reclaims))
        return int(answer[0]), found

    async def intercept(
        self, lane: int, queue: QueueKey, generation: int, matches: Sequence[Match]
    ) -> tuple[InterceptAnswer, int]:
        prefix = keys.lane_prefix(lane)
        pool, domain = queue.pool.encode(), queue.domain.encode()
        names: set[bytes] = set()
        for match in matches:
            names.update(keys.tag_key(prefix, tag.encode()) for tag in match.tags)
            names.update(keys.rule_key(prefix, rule.encode()) for rule in (match.rule, match.left_rule) if rule)
        step_keys = [prefix + b"lane", keys.due_key(prefix, pool, domain), keys.agenda_key(prefix, pool)]
        step_keys += [prefix + name for name in (b"rec", b"content", b"refs", b"count", b"events")]
        step_keys += names
        text = codec.lua_text
        items = [(text(m.id), m.rule, m.tags, text(m.event), m.uncertain, m.left_rule) for m in matches]
        blob = codec.encode((queue.pool, queue.domain, generation, self._retention_ms, items))
        count = int(await self._link.call(b"fg1_intercept", step_keys, [blob]))
        return (InterceptAnswer.OLD_RULES, 0) if count < 0 else (InterceptAnswer.OK, count)

    async def backlog(self, lane: int) -> int:
        return int(await self._link.command("XLEN", keys.lane_key(lane, b"events")))

    async def sweeps(self) -> dict[str, SweepState]:
        answer = await self._link.command("HGETALL", keys.RULES_SWEEPS)
        states = (_state_decoder.decode(raw.split(b"|", 2)[2]) for raw in answer[1::2])
        return {name.decode(): state for name, state in zip(answer[::2], states, strict=True)}

    async def save_sweep(self, state: SweepState, lease: float) -> bool:
        """Take or keep the sweep for `lease` seconds; False: another owner has it."""
        step_keys = [keys.RULES_HEAD, keys.RULES_SWEEPS, keys.RULES_TABLE]
        args: list[bytes | str | int] = [state.rule, state.owner, int(lease * 1000)]
        return bool(await self._link.call(b"fg1_take_sweep", step_keys, [*args, codec.encode(state)]))
