"""The queues as the API lists them: which there are, and how many deliveries of each are in each class."""

import asyncio
import time
from bisect import bisect_right
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from itertools import chain
from typing import Final, NamedTuple

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

_KEPT: Final = 5.0  # seconds that the names which a first page has read serve the pages behind it
_MOST_KEPT: Final = 4  # lists that are read page by page at the same time

Clock = Callable[[], float]
_Waiting = dict[tuple[str, str], set[bytes]]  # (pool, share) -> domains
_Part = tuple[QueueKey, str]  # of a queue, and the tenant whose mail it is
_Filter = tuple[str | None, str | None, str | None]  # pool, domain, tenant


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
        records = chain((first,), (_readable(last) for last in self.lasts if last != self.first))
        tried = next((record for record in records if record is not None and record.last is not None), None)
        return QueueCounts(
            queue, self.due, self.later, self.claimed, held, self.next_due, self.oldest, self.pauses, first,
            self.parked, tried,
        )  # fmt: skip


class _Names(NamedTuple):
    """The facts of all queues that are read before some of them are counted."""

    waiting: Sequence[_Waiting]  # by lane: where something is due, now or later
    others: Mapping[QueueKey, _Tally]  # where something is claimed, held or parked, with these counts
    by_pool: Mapping[str, Sequence[bytes]]  # the domains of both, in order; the pools in order, too

    def page(self, after: QueueKey | None, most: int | None) -> list[QueueKey]:
        """At most `most` behind `after`, in order. Only those of the answer become keys."""
        found: list[QueueKey] = []
        for pool, domains in self.by_pool.items():
            if after is not None and pool < after.pool:
                continue
            behind = after.domain.encode() if after is not None and pool == after.pool else b""
            first = bisect_right(domains, behind)
            last = None if most is None else first + most - len(found)
            found += [QueueKey(pool, name.decode()) for name in domains[first:last]]
            if most is not None and len(found) >= most:
                break
        return found


class QueueBooks:
    """Names first, counts only of the queues that are asked for, and of these in the lanes that have them. The pages of
    a list share the names that its first page has read: the counts are those of their own moment, except for claimed,
    held and parked mail."""

    def __init__(self, link: Link, lanes: int, clock: Clock = time.monotonic) -> None:
        self._link = link
        self._lanes = range(lanes)
        self._clock = clock
        self._held: dict[_Part, _Tally] = {}
        self._held_until = 0.0
        self._turn = asyncio.Lock()  # one count of what pauses hold at a time, for all who ask
        self._kept: dict[_Filter, tuple[float, _Names]] = {}  # until when they serve

    async def queues(
        self, pool: str | None, domain: str | None, after: QueueKey | None, most: int | None, tenant: str | None = None
    ) -> list[QueueCounts]:
        """In order of their names, at most `most` behind `after`. Raises StoreAway, StoreError."""
        of = pool, domain, tenant
        known = None if after is None else self._known(of)
        names = known or await self._names(of)
        page = names.page(after, most)
        if known is None and most is not None and len(page) == most:
            self._keep(of, names)
        found: dict[QueueKey, _Tally] = {}
        for queue in page:
            tally = found[queue] = _Tally()
            if (other := names.others.get(queue)) is not None:
                tally.add(other)
        await self._count(names.waiting, found)
        return [tally.counts(queue) for queue, tally in found.items()]

    async def claimed_and_held(self) -> dict[QueueKey, QueueCounts]:
        """The queues of which something is claimed or held, with these counts alone."""
        return {queue: tally.counts(queue) for queue, tally in (await self._claimed_and_held(None)).items()}

    async def unmet(self, domains: Sequence[str]) -> list[str]:
        """Those of the domains (`*.x`: each one below x) for which no delivery is queued or held."""
        wanted = None if len(domains) > 1 or domains[0].startswith("*.") else domains[0]
        waiting = await self._waiting(None, wanted)
        there = {name.decode() for of_lane in waiting for names in of_lane.values() for name in names}
        left = _unmet(domains, there)
        held = {queue.domain for (queue, _), tally in (await self._hold()).items() if tally.pauses} if left else set()
        return _unmet(left, held)

    def _known(self, of: _Filter) -> _Names | None:
        """The names that a page before has read."""
        until, names = self._kept.get(of, (0.0, None))
        return names if self._clock() < until else None

    def _keep(self, of: _Filter, names: _Names) -> None:
        now = self._clock()
        self._kept = {each: kept for each, kept in self._kept.items() if now < kept[0]}
        if of in self._kept or len(self._kept) < _MOST_KEPT:
            self._kept[of] = now + _KEPT, names

    async def _names(self, of: _Filter) -> _Names:
        pool, domain, tenant = of
        others = await self._claimed_and_held(tenant)
        others = {
            queue: tally
            for queue, tally in others.items()
            if pool in (None, queue.pool) and domain in (None, queue.domain)
        }
        waiting = await self._waiting(pool, domain, tenant)
        return _Names(waiting, others, _by_pool(waiting, others))

    async def _waiting(self, pool: str | None, domain: str | None, tenant: str | None = None) -> list[_Waiting]:
        """The domains for which something is due, now or later, by lane."""

        async def of_lane(lane: int) -> _Waiting:
            found: _Waiting = {}
            prefix = keys.lane_prefix(lane)
            pools = await self._link.command("SMEMBERS", prefix + b"pools") if pool is None else [pool.encode()]
            for raw in pools:
                name, shares = raw.decode(), await self._link.command("SMEMBERS", keys.shares_key(prefix, raw))
                for share in ("", *(each.decode() for each in shares)):
                    if tenant in (None, split_share(share)[0]):
                        agenda = keys.agenda_key(prefix, place_of(name, share).encode())
                        found[name, share] = set(await self._domains(agenda, domain))
            return found

        return await each_lane(self._lanes, of_lane)

    async def _domains(self, agenda: bytes, domain: str | None) -> Sequence[bytes]:
        """Those in an agenda: all, or `domain` alone where it is there."""
        if domain is None:
            found: Sequence[bytes] = await self._link.command("ZRANGE", agenda, 0, -1)
            return found
        there = await self._link.command("ZSCORE", agenda, domain)
        return [] if there is None else [domain.encode()]

    async def _count(self, waiting: Sequence[_Waiting], found: Mapping[QueueKey, _Tally]) -> None:
        now = wall_ms()
        by_pool: dict[str, list[tuple[QueueKey, bytes]]] = {}
        for queue in found:
            by_pool.setdefault(queue.pool, []).append((queue, queue.domain.encode()))

        async def of_lane(lane: int) -> None:
            prefix, at = keys.lane_prefix(lane), 0
            parts = [
                (queue, share)
                for (pool, share), domains in waiting[lane].items()
                for queue, domain in by_pool.get(pool, ())
                if domain in domains
            ]
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


def _by_pool(waiting: Iterable[_Waiting], others: Iterable[QueueKey]) -> dict[str, list[bytes]]:
    found: dict[str, set[bytes]] = {}
    for of_lane in waiting:
        for (pool, _), domains in of_lane.items():
            found.setdefault(pool, set()).update(domains)
    for queue in others:
        found.setdefault(queue.pool, set()).add(queue.domain.encode())
    return {pool: sorted(found[pool]) for pool in sorted(found)}


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
