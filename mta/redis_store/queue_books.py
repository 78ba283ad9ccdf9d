"""The queues as the API lists them: which there are, and how many deliveries of each are in each class."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from itertools import chain
from typing import Final

import msgspec

from mta.model.mail import QueueKey, Record
from mta.model.shares import place_of, split_place, split_share
from mta.ports.books import QueueCounts
from mta.redis_store import codec, keys
from mta.redis_store.each_lane import each_lane
from mta.redis_store.link import Link
from mta.timing.clock import wall_ms

SAMPLE: Final = 250  # deliveries at each end of a lane's queue among which the oldest is looked for
# Queues in one step, and the ids that it reads before it ends: either takes 3 ms of the server at most.
_AT_ONCE: Final = 100
_IDS_AT_ONCE: Final = 5000
_HELD_PAGE: Final = 5000
_HELD_REST: Final = 20.0  # a count of what pauses hold is used for this many times the seconds that it took

Clock = Callable[[], float]
_Waiting = dict[str, dict[str, set[bytes]]]  # pool -> share -> domains
_Part = tuple[QueueKey, str]  # of a queue, and the tenant whose mail it is


class _Tally(msgspec.Struct):
    """One queue while its lanes are added up; times are Unix ms, 0 = none."""

    due: int = 0
    later: int = 0
    claimed: int = 0
    pauses: dict[str, int] = {}
    parked: int = 0
    next_due: int = 0
    oldest: int = 0
    first: bytes = b""  # record of what is due first
    lasts: tuple[bytes, ...] = ()  # and of what is due last in each lane
    shares: set[str] = set()  # that something of it waits in

    def saw(self, accepted_at: int) -> None:
        if accepted_at and (not self.oldest or accepted_at < self.oldest):
            self.oldest = accepted_at

    def add(self, other: "_Tally") -> None:
        """The claimed, held and parked deliveries of another part of the queue."""
        self.claimed += other.claimed
        self.parked += other.parked
        self.saw(other.oldest)
        for pause, many in other.pauses.items():
            self.pauses[pause] = self.pauses.get(pause, 0) + many

    def add_lane(self, many: int, ready: int, due: int, oldest: int, first: bytes, last: bytes) -> None:
        self.due += ready
        self.later += many - ready
        self.saw(oldest)
        if due and (not self.next_due or due < self.next_due):
            self.next_due, self.first = due, first
        if last:
            self.lasts += (last,)

    def counts(self, queue: QueueKey) -> QueueCounts:
        held, first = sum(self.pauses.values()), _readable(self.first)
        records = chain((first,), map(_readable, self.lasts))
        tried = next((record for record in records if record is not None and record.last is not None), None)
        return QueueCounts(
            queue, self.due, self.later, self.claimed, held, self.next_due, self.oldest, self.pauses, first,
            self.parked, tried,
        )  # fmt: skip


class QueueBooks:
    """Names first, counts only of the queues that are asked for; the lanes are read one after the other."""

    def __init__(self, link: Link, lanes: int, clock: Clock = time.monotonic) -> None:
        self._link = link
        self._lanes = range(lanes)
        self._clock = clock
        self._held: dict[_Part, _Tally] = {}
        self._held_until = 0.0
        self._turn = asyncio.Lock()  # one count of what pauses hold at a time, for all who ask

    async def queues(
        self, pool: str | None, domain: str | None, after: QueueKey | None, most: int | None, tenant: str | None = None
    ) -> list[QueueCounts]:
        """In order of their names, at most `most` behind `after`. Raises StoreAway, StoreError."""
        found = await self._claimed_and_held(tenant)
        waiting = await self._waiting(pool, domain, tenant)
        names = _names(waiting, [queue for queue in found if pool in (None, queue.pool)], domain, after, most)
        for queue in names:
            tally, name = found.setdefault(queue, _Tally()), queue.domain.encode()
            tally.shares.update(share for share, domains in waiting.get(queue.pool, {}).items() if name in domains)
        await self._count(names, found)
        return [found[queue].counts(queue) for queue in names]

    async def claimed_and_held(self) -> dict[QueueKey, QueueCounts]:
        """The queues of which something is claimed or held, with these counts alone."""
        return {queue: tally.counts(queue) for queue, tally in (await self._claimed_and_held(None)).items()}

    async def unmet(self, domains: Sequence[str]) -> list[str]:
        """Those of the domains (`*.x`: each one below x) for which no delivery is queued or held."""
        wanted = None if len(domains) > 1 or domains[0].startswith("*.") else domains[0]
        waiting = (await self._waiting(None, wanted)).values()
        there = {name.decode() for shares in waiting for names in shares.values() for name in names}
        left = _unmet(domains, there)
        held = {queue.domain for (queue, _), tally in (await self._hold()).items() if tally.pauses} if left else set()
        return _unmet(left, held)

    async def _waiting(self, pool: str | None, domain: str | None, tenant: str | None = None) -> _Waiting:
        """The domains for which something is due, now or later, by pool and share."""
        found: _Waiting = {}
        for lane in self._lanes:
            prefix = keys.lane_prefix(lane)
            pools = await self._link.command("SMEMBERS", prefix + b"pools") if pool is None else [pool.encode()]
            for raw in pools:
                name, shares = raw.decode(), await self._link.command("SMEMBERS", keys.shares_key(prefix, raw))
                for share in ("", *(each.decode() for each in shares)):
                    if tenant in (None, split_share(share)[0]):
                        agenda = keys.agenda_key(prefix, place_of(name, share).encode())
                        domains = await self._domains(agenda, domain)
                        found.setdefault(name, {}).setdefault(share, set()).update(domains)
        return found

    async def _domains(self, agenda: bytes, domain: str | None) -> Sequence[bytes]:
        """Those in an agenda: all, or `domain` alone where it is there."""
        if domain is None:
            found: Sequence[bytes] = await self._link.command("ZRANGE", agenda, 0, -1)
            return found
        there = await self._link.command("ZSCORE", agenda, domain)
        return [] if there is None else [domain.encode()]

    async def _count(self, names: Sequence[QueueKey], found: dict[QueueKey, _Tally]) -> None:
        now = wall_ms()
        parts = [(queue, share) for queue in names for share in sorted(found[queue].shares)]

        async def of_lane(lane: int) -> None:
            prefix, at = keys.lane_prefix(lane), 0
            while at < len(parts):
                some = parts[at : at + _AT_ONCE]
                step_keys = [prefix + b"lane", prefix + b"rec"]
                step_keys += [
                    keys.due_key(prefix, place_of(queue.pool, share).encode(), queue.domain.encode())
                    for queue, share in some
                ]
                rows = await self._link.call(b"queue_counts", step_keys, [now, SAMPLE, _IDS_AT_ONCE])
                at += len(rows)  # it may have ended early
                for (queue, _), (many, ready, due, oldest, first, last) in zip(some, rows, strict=False):
                    if many:
                        found[queue].add_lane(many, ready, int(float(due)), oldest, first, last)

        await each_lane(self._lanes, of_lane)

    async def _claimed_and_held(self, tenant: str | None) -> dict[QueueKey, _Tally]:
        """The queues of which something is claimed, held or parked, with these counts; of all mail or of a tenant's."""
        found: dict[QueueKey, _Tally] = {}

        def of(queue: QueueKey, owner: str) -> _Tally | None:
            return found.setdefault(queue, _Tally()) if tenant in (None, owner) else None

        for (queue, owner), held in (await self._hold()).items():
            if (tally := of(queue, owner)) is not None:
                tally.add(held)
        sessions = await self._link.command("HKEYS", keys.RULES_SESSIONS)
        for lane in self._lanes:
            for session in sessions:
                key = keys.claimed_key(keys.lane_prefix(lane), session)
                answer = await self._link.command("HGETALL", key)
                for id_, claim in zip(answer[::2], answer[1::2], strict=True):
                    _, place, domain = claim.decode().split("|", 2)
                    pool, share = split_place(place)
                    if (tally := of(QueueKey(pool, domain), split_share(share)[0])) is not None:
                        tally.claimed += 1
                        tally.saw(int.from_bytes(id_[:6], "big"))
        return found

    async def _hold(self) -> dict[_Part, _Tally]:
        """The held and the parked deliveries, by queue and tenant. A count reads every member, so it is kept for a time
        that grows with its duration: however many ask, at most a twentieth of the server's time goes there."""
        async with self._turn:
            start = self._clock()
            if start >= self._held_until:
                found: dict[_Part, _Tally] = {}
                for lane in self._lanes:
                    await self._count_held(lane, found)
                end = self._clock()
                self._held, self._held_until = found, end + (end - start) * _HELD_REST
            return self._held

    async def _count_held(self, lane: int, found: dict[_Part, _Tally]) -> None:
        prefix = keys.lane_prefix(lane)
        for pause in await self._link.command("SMEMBERS", prefix + b"pauses"):
            async for tally, many in self._members(prefix, keys.held_key(prefix, pause), found):
                tally.pauses[pause.decode()] = tally.pauses.get(pause.decode(), 0) + many
        async for tally, many in self._members(prefix, prefix + b"parked", found):
            tally.parked += many

    async def _members(
        self, prefix: bytes, key: bytes, found: dict[_Part, _Tally]
    ) -> AsyncIterator[tuple[_Tally, int]]:
        """How many members of a zset belong to each queue and tenant, page by page."""
        at, more = 0, True
        while more:
            answer = await self._link.call(b"held_queues", [prefix + b"lane", key], [at, at + _HELD_PAGE - 1])
            at += _HELD_PAGE
            more = answer[0] == _HELD_PAGE
            for name, many, oldest in _threes(answer[1:]):
                place, _, domain = name.decode().partition("|")
                pool, share = split_place(place)
                tally = found.setdefault((QueueKey(pool, domain), split_share(share)[0]), _Tally())
                tally.saw(oldest)
                yield tally, many


def _names(
    waiting: _Waiting, others: Iterable[QueueKey], domain: str | None, after: QueueKey | None, most: int | None
) -> list[QueueKey]:
    """The queues behind `after` in which something waits, and `others`, in order and at most `most`. They are sorted as
    the store gives them: only those of the answer become keys."""
    by_pool = {pool: set[bytes]().union(*shares.values()) for pool, shares in waiting.items()}
    for queue in others:
        if domain in (None, queue.domain):
            by_pool.setdefault(queue.pool, set()).add(queue.domain.encode())
    found: list[QueueKey] = []
    for pool in sorted(by_pool):
        if after is not None and pool < after.pool:
            continue
        behind = after.domain.encode() if after is not None and pool == after.pool else b""
        some = sorted(name for name in by_pool[pool] if name > behind)
        found += [QueueKey(pool, name.decode()) for name in some[: None if most is None else most - len(found)]]
        if most is not None and len(found) >= most:
            break
    return found


def _threes(answer: Sequence[object]) -> Iterable[tuple[bytes, int, int]]:
    return zip(answer[::3], answer[1::3], answer[2::3], strict=True)  # type: ignore[arg-type]


def _readable(record: bytes) -> Record | None:
    try:
        return codec.decode_record(record)[1]
    except codec.UNREADABLE:
        return None


def _unmet(domains: Sequence[str], there: set[str]) -> list[str]:
    parents = {name.partition(".")[2] for name in there}  # of each domain, the one above it and all above that
    above = {rest for name in parents for rest in _with_parents(name)}
    return [name for name in domains if (name[2:] not in above if name.startswith("*.") else name not in there)]


def _with_parents(name: str) -> list[str]:
    labels = name.split(".")
    return [".".join(labels[at:]) for at in range(len(labels))]
