"""Queues and paused mail as a sweep walks over them and moves them, and how far each sweep is."""

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Final, TypeVar

import msgspec

from mta.model.entries import framed
from mta.model.ids import DeliveryId
from mta.model.mail import QueueKey, QueueShare
from mta.model.shares import place_of, split_place
from mta.model.sweeps import SweepState
from mta.ports.sweeps import Allowance, MoveAnswer, PlannedMove, SweepMove, WaitingDelivery
from mta.redis_store import codec, keys
from mta.redis_store.each_lane import each_lane
from mta.redis_store.link import Link
from mta.redis_store.steps import sweep
from mta.timing.clock import wall_ms

_MOVE_KEYS: Final = (b"lane", b"rec", b"content", b"refs", b"count", b"events", b"pauses", b"spares", b"cancels")

_AT_ONCE: Final = 1000  # states in one answer

_T = TypeVar("_T")
_Kind = tuple[str, tuple[str, ...], bool, str, int]  # as sweep.Kind

_state_decoder = msgspec.msgpack.Decoder(SweepState)


class StoredSweeps:
    """Fulfils ports.sweeps.SweepStore."""

    def __init__(self, link: Link, lanes: int, retention: float) -> None:
        self.lanes = lanes
        self._link = link
        self._retention_ms = int(retention * 1000)

    async def pools(self) -> list[str]:
        found = await each_lane(range(self.lanes), lambda lane: self._names(lane, b"pools"))
        return sorted({name for names in found for name in names})

    async def queues(self, lane: int, pool: str) -> list[QueueShare]:
        prefix = keys.lane_prefix(lane)
        shares = await self._link.quick("SMEMBERS", keys.shares_key(prefix, pool.encode()))
        found = []
        for share in ("", *(name.decode() for name in shares)):
            agenda = keys.agenda_key(prefix, place_of(pool, share).encode())
            for domain in await self._link.quick("ZRANGE", agenda, 0, -1):
                found.append(QueueShare(QueueKey(pool, domain.decode()), share))
        return found

    async def pauses(self, lane: int) -> list[str]:
        return await self._names(lane, b"pauses")

    async def _names(self, lane: int, name: bytes) -> list[str]:
        return [member.decode() for member in await self._link.quick("SMEMBERS", keys.lane_key(lane, name))]

    async def scan(
        self, lane: int, queue: QueueKey, cursor: int, most: int, share: str = ""
    ) -> tuple[int, list[WaitingDelivery]]:
        prefix = keys.lane_prefix(lane)
        due = keys.due_key(prefix, place_of(queue.pool, share).encode(), queue.domain.encode())
        answer = await self._link.call(b"scan", [prefix + b"lane", due, prefix + b"rec"], [cursor, most])
        return int(answer[0]), queued(answer, QueueShare(queue, share))[0]

    async def scan_held(self, lane: int, pause: str, cursor: int, most: int) -> tuple[int, list[WaitingDelivery]]:
        answer = await self._link.call(b"scan", self._held_keys(lane, pause), [cursor, most])
        return int(answer[0]), queued(answer)[0]

    async def holders(self, lane: int) -> list[str]:
        return await self._names(lane, b"holders")

    async def scan_claimed(self, lane: int, session: str, cursor: int, most: int) -> tuple[int, list[WaitingDelivery]]:
        prefix = keys.lane_prefix(lane)
        step_keys = [prefix + b"lane", keys.claimed_key(prefix, session.encode()), prefix + b"rec"]
        answer = await self._link.call(b"scan_claimed", step_keys, [cursor, most])
        return int(answer[0]), _claimed(answer)

    async def first_held(self, lane: int, pause: str, most: int) -> list[WaitingDelivery]:
        while True:
            answer = await self._link.call(b"first", self._held_keys(lane, pause), ["-inf", most])
            found, unreadable = queued(answer)
            if not unreadable:
                return found
            await self._unhold(lane, pause, unreadable)

    async def _unhold(self, lane: int, pause: str, members: Sequence[tuple[bytes, QueueShare]]) -> None:
        prefix = keys.lane_prefix(lane)
        step_keys = [prefix + b"lane", keys.held_key(prefix, pause.encode()), prefix + b"count", prefix + b"pauses"]
        step_keys.append(keys.rule_key(prefix, pause.encode()))
        args: list[bytes | str | int] = [pause, wall_ms()]
        for id_, (queue, share) in members:
            step_keys += keys.queue_keys(prefix, queue, share)
            args += (id_, place_of(queue.pool, share), queue.domain)
        await self._link.call(b"unhold", step_keys, args)

    def _held_keys(self, lane: int, pause: str) -> list[bytes]:
        prefix = keys.lane_prefix(lane)
        return [prefix + b"lane", keys.held_key(prefix, pause.encode()), prefix + b"rec"]

    async def move(
        self,
        lane: int,
        source: str,
        move: SweepMove,
        generation: int,
        matches: Sequence[PlannedMove],
        allowance: Allowance | None = None,
    ) -> tuple[MoveAnswer, int]:
        prefix = keys.lane_prefix(lane)
        ids, of, rules, tags, events, uncertain, left_rules, _, _, _, spares, raws, shared, shares = zip(
            *matches, strict=True
        )
        queues, queue_of = _places(zip(of, shares, strict=True))
        kinds, kind_of = _places(zip(rules, tags, uncertain, left_rules, spares, strict=True))
        texts = codec.lua_texts
        blob = codec.encode(
            sweep.Batch(
                how=move.value,
                source=source,
                generation=generation,
                retention_ms=self._retention_ms,
                queues=[(place_of(queue.pool, share), queue.domain) for queue, share in queues],
                kinds=[sweep.Kind(*kind) for kind in kinds],
                ids=texts(ids),
                queue_of=queue_of,
                kind_of=kind_of,
                raws=texts(raws),
                results=texts([_final_or_record(match) for match in matches]),
                shared=codec.pairs({one.digest: one.raw for one in shared if one is not None}),
                part=sweep.Part() if allowance is None else sweep.Part(*allowance, keys.RELEASED_KEPT_MS),
            )
        )
        step_keys = [*(prefix + name for name in _MOVE_KEYS), *_named(prefix, source, queues, kinds)]
        if allowance is not None:
            step_keys.append(keys.released_key(prefix, source.encode()))
        count = int(await self._link.call(b"move", step_keys, [blob, framed(events)]))
        return (MoveAnswer.OLD_RULES, 0) if count < 0 else (MoveAnswer.OK, count)

    async def sweeps(self) -> dict[str, SweepState]:
        answer = await self._link.command("HGETALL", keys.RULES_SWEEPS)
        return {name.decode(): _state_of(raw) for name, raw in zip(answer[::2], answer[1::2], strict=True)}

    async def sweeps_of(self, orders: Sequence[str]) -> dict[str, SweepState]:
        found: dict[str, SweepState] = {}
        for at in range(0, len(orders), _AT_ONCE):
            some = orders[at : at + _AT_ONCE]
            answer = await self._link.command("HMGET", keys.RULES_SWEEPS, *some)
            found |= {name: _state_of(raw) for name, raw in zip(some, answer, strict=True) if raw}
        return found

    async def sweep(self, order: str) -> SweepState | None:
        return (await self.sweeps_of([order])).get(order)

    async def save_sweep(self, state: SweepState, lease: float, completed: bytes = b"", rule: str = "") -> bool:
        step_keys = [keys.RULES_HEAD, keys.RULES_SWEEPS, keys.RULES_TABLE, keys.RULES_COMPLETED, keys.RULES_EVENTS]
        args: list[bytes | str | int] = [state.rule, state.owner, int(lease * 1000), codec.encode(state)]
        return bool(
            await self._link.call(b"take_sweep", step_keys, [*args, completed, state.generation, rule or state.rule])
        )


def _state_of(raw: bytes) -> SweepState:
    return _state_decoder.decode(raw.split(b"|", 2)[2])


def queued(
    answer: Sequence[bytes], queue: QueueShare | None = None
) -> tuple[list[WaitingDelivery], list[tuple[bytes, QueueShare]]]:
    """The deliveries whose record could be read, and the ids and queues of the others, which are parked when they are
    claimed. A member is an id; where `queue` is None, the name of its queue follows the id."""
    found, unreadable = [], []
    for member, score, raw in zip(answer[1::3], answer[2::3], answer[3::3], strict=True):
        id_, of = member, queue
        if of is None:
            id_, (place, _, domain) = member[:18], member[18:].decode().partition("|")
            pool, share = split_place(place)
            of = QueueShare(QueueKey(pool, domain), share)
        try:
            reclaims, record = codec.decode_record(raw)
        except codec.UNREADABLE:
            unreadable.append((id_, of))
            continue
        found.append(WaitingDelivery(DeliveryId(id_), of.queue, int(float(score)), record, reclaims, raw, of.share))
    return found, unreadable


def _claimed(answer: Sequence[bytes]) -> list[WaitingDelivery]:
    """The claimed deliveries whose record could be read."""
    found = []
    for id_, claim, raw in zip(answer[1::3], answer[2::3], answer[3::3], strict=True):
        _, place, domain = claim.decode().split("|", 2)
        pool, share = split_place(place)
        try:
            reclaims, record = codec.decode_record(raw)
        except codec.UNREADABLE:
            continue
        found.append(WaitingDelivery(DeliveryId(id_), QueueKey(pool, domain), 0, record, reclaims, raw, share))
    return found


def _places(column: Iterable[_T]) -> tuple[list[_T], list[int]]:
    """The distinct values of a column, and for each entry the place of its value among them, counted from 1."""
    places: dict[_T, int] = {}
    at = [places.setdefault(entry, len(places) + 1) for entry in column]
    return list(places), at


def _named(prefix: bytes, source: str, queues: Iterable[tuple[QueueKey, str]], kinds: Iterable[_Kind]) -> set[bytes]:
    """The keys of queues, tags and rules that a step may write."""
    names = set[bytes]()
    for queue, share in queues:
        names.update(keys.queue_keys(prefix, queue, share))
    met, tags_met, _, left, _ = zip(*kinds, strict=True)
    names.update(keys.tag_key(prefix, tag.encode()) for tag in set(chain.from_iterable(tags_met)))
    rules = {source, *met, *left}
    for rule in rules - {""}:
        raw = rule.encode()
        names.update((keys.rule_key(prefix, raw), keys.held_key(prefix, raw), keys.spared_key(prefix, raw)))
    return names


def _final_or_record(match: PlannedMove) -> bytes:
    """The new record, or the final status, see keys."""
    if match.record is not None:
        return codec.encode_record(match.record, match.reclaims)
    return b"i:queued:%d:%b\0%b" % (match.uncertain, match.rule.encode(), match.final)
