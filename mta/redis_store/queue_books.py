"""The queues as the API lists them: which there are, and how many deliveries of each are due, later, claimed, held."""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import msgspec

from mta.model.mail import QueueKey, Record
from mta.model.shares import place_of, split_place
from mta.ports.books import QueueCounts
from mta.redis_store import codec, keys
from mta.redis_store.link import Link
from mta.timing.clock import wall_ms

SAMPLE: Final = 250  # deliveries at each end of a lane's queue among which the oldest is looked for
# Queues in one step, and the ids that it reads before it ends: either takes 3 ms of the server at most.
_AT_ONCE: Final = 100
_IDS_AT_ONCE: Final = 5000
_HELD_PAGE: Final = 5000
_HELD_REST: Final = 20.0  # a count of what pauses hold is used for this many times the seconds that it took

Clock = Callable[[], float]


class _Tally(msgspec.Struct):
    """One queue while its lanes are added up; times are Unix ms, 0 = none."""

    due: int = 0
    later: int = 0
    claimed: int = 0
    pauses: dict[str, int] = {}
    next_due: int = 0
    oldest: int = 0
    first: Record | None = None
    shares: set[str] = set()  # that something of it waits in, beside ""

    def saw(self, accepted_at: int) -> None:
        if accepted_at and (not self.oldest or accepted_at < self.oldest):
            self.oldest = accepted_at

    def add_lane(self, many: int, ready: int, due: int, oldest: int, record: bytes) -> None:
        self.due += ready
        self.later += many - ready
        self.saw(oldest)
        if due and (not self.next_due or due < self.next_due):
            self.next_due = due
            self.first = _readable(record)

    def counts(self, queue: QueueKey) -> QueueCounts:
        held = sum(self.pauses.values())
        return QueueCounts(
            queue, self.due, self.later, self.claimed, held, self.next_due, self.oldest, self.pauses, self.first
        )


class QueueBooks:
    """Names first, counts only of the queues that are asked for; the lanes are read one after the other."""

    def __init__(self, link: Link, lanes: int, clock: Clock = time.monotonic) -> None:
        self._link = link
        self._lanes = range(lanes)
        self._clock = clock
        self._held: dict[QueueKey, _Tally] = {}
        self._held_until = 0.0
        self._turn = asyncio.Lock()  # one count of what pauses hold at a time, for all who ask

    async def queues(
        self, pool: str | None, domain: str | None, after: QueueKey | None, most: int | None
    ) -> list[QueueCounts]:
        """In order of their names, at most `most` behind `after`. Raises StoreAway, StoreError."""
        found = await self._claimed_and_held()
        for queue, share in await self._waiting(pool, domain):
            tally = found.setdefault(queue, _Tally())
            if share:
                tally.shares.add(share)
        names = sorted(
            queue
            for queue in found
            if pool in (None, queue.pool) and domain in (None, queue.domain) and (after is None or queue > after)
        )[:most]
        await self._count(names, found)
        return [found[queue].counts(queue) for queue in names]

    async def claimed_and_held(self) -> dict[QueueKey, QueueCounts]:
        """The queues of which something is claimed or held, with these counts alone."""
        return {queue: tally.counts(queue) for queue, tally in (await self._claimed_and_held()).items()}

    async def unmet(self, domains: Sequence[str]) -> list[str]:
        """Those of the domains (`*.x`: each one below x) for which no delivery is queued or held."""
        wanted = None if len(domains) > 1 or domains[0].startswith("*.") else domains[0]
        there = {queue.domain for queue, _ in await self._waiting(None, wanted)}
        left = _unmet(domains, there)
        return _unmet(left, {queue.domain for queue in await self._hold()}) if left else left

    async def _waiting(self, pool: str | None, domain: str | None) -> set[tuple[QueueKey, str]]:
        """The queues in which something is due, now or later, with its share."""
        found: set[tuple[QueueKey, str]] = set()
        for lane in self._lanes:
            prefix = keys.lane_prefix(lane)
            pools = await self._link.command("SMEMBERS", prefix + b"pools") if pool is None else [pool.encode()]
            for name in pools:
                shares = await self._link.command("SMEMBERS", keys.shares_key(prefix, name))
                for share in ("", *(each.decode() for each in shares)):
                    domains = await self._domains(
                        keys.agenda_key(prefix, place_of(name.decode(), share).encode()), domain
                    )
                    found.update((QueueKey(name.decode(), each.decode()), share) for each in domains)
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
        parts = [(queue, share) for queue in names for share in ("", *sorted(found[queue].shares))]
        for lane in self._lanes:
            prefix = keys.lane_prefix(lane)
            at = 0
            while at < len(parts):
                some = parts[at : at + _AT_ONCE]
                step_keys = [prefix + b"lane", prefix + b"rec"]
                step_keys += [
                    keys.due_key(prefix, place_of(queue.pool, share).encode(), queue.domain.encode())
                    for queue, share in some
                ]
                rows = await self._link.call(b"queue_counts", step_keys, [now, SAMPLE, _IDS_AT_ONCE])
                at += len(rows)  # it may have ended early
                for (queue, _), (many, ready, due, oldest, record) in zip(some, rows, strict=False):
                    found[queue].add_lane(many, ready, int(float(due)), oldest, record)

    async def _claimed_and_held(self) -> dict[QueueKey, _Tally]:
        """The queues of which something is claimed or held, with these counts."""
        found = {
            queue: _Tally(pauses=dict(tally.pauses), oldest=tally.oldest)
            for queue, tally in (await self._hold()).items()
        }
        sessions = await self._link.command("HKEYS", keys.RULES_SESSIONS)
        for lane in self._lanes:
            for session in sessions:
                key = keys.claimed_key(keys.lane_prefix(lane), session)
                answer = await self._link.command("HGETALL", key)
                for id_, claim in zip(answer[::2], answer[1::2], strict=True):
                    _, place, domain = claim.decode().split("|", 2)
                    tally = found.setdefault(QueueKey(split_place(place)[0], domain), _Tally())
                    tally.claimed += 1
                    tally.saw(int.from_bytes(id_[:6], "big"))
        return found

    async def _hold(self) -> dict[QueueKey, _Tally]:
        """The held deliveries, by queue. A count reads every member, so it is kept for a time that grows with its
        duration: however many ask, at most a twentieth of the server's time goes there."""
        async with self._turn:
            start = self._clock()
            if start >= self._held_until:
                found: dict[QueueKey, _Tally] = {}
                for lane in self._lanes:
                    await self._count_held(lane, found)
                end = self._clock()
                self._held, self._held_until = found, end + (end - start) * _HELD_REST
            return self._held

    async def _count_held(self, lane: int, found: dict[QueueKey, _Tally]) -> None:
        prefix = keys.lane_prefix(lane)
        for pause in await self._link.command("SMEMBERS", prefix + b"pauses"):
            step_keys, at, more = [prefix + b"lane", keys.held_key(prefix, pause)], 0, True
            while more:
                answer = await self._link.call(b"held_queues", step_keys, [at, at + _HELD_PAGE - 1])
                at += _HELD_PAGE
                more = answer[0] == _HELD_PAGE
                for name, many, oldest in _threes(answer[1:]):
                    place, _, domain = name.decode().partition("|")
                    tally = found.setdefault(QueueKey(split_place(place)[0], domain), _Tally())
                    tally.pauses[pause.decode()] = tally.pauses.get(pause.decode(), 0) + many
                    tally.saw(oldest)


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
