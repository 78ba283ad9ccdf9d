"""Work on mail that waits: a page of it, its next attempt made due now, its move to another pool."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from itertools import groupby
from typing import Final, NamedTuple

import msgspec

from mta.model.errors import StoreAway
from mta.model.events import EventType, delivery_event
from mta.model.mail import QueueKey, QueueShare
from mta.model.outcomes import NO_ATTEMPT
from mta.model.shares import place_of, split_share
from mta.orders.queue_counts import QueueCounter
from mta.policy.rule_effect import ends, is_counting, swept
from mta.policy.rule_table import RuleTable
from mta.policy.sending_window import is_closed
from mta.ports.books import QueueCounts
from mta.ports.queue_work import MailSelection, PagePlace, PoolChange, QueueWorkStore, WaitingPage, WorkDone, WorkPlace
from mta.ports.sites import SiteLookup, of_site
from mta.ports.store_load import StoreLoad
from mta.ports.sweeps import SweepStore, WaitingDelivery
from mta.timing.clock import wall_ms

Rules = Callable[[], Awaitable[RuleTable]]  # a table at least as new as the question

_PAGE: Final = 100  # deliveries in one step
_LOOKED_AT: Final = 5000  # deliveries of one page of the list
_READ: Final = 500  # of a queue and lane in one step
_REST: Final = 0.5  # it rests for so many times the seconds that a step took, so that other mail goes on
_BACKLOG_PAUSE: Final = 0.05
_OLD_RULES_PAUSE: Final = 0.01
_BEHIND: Final = "!"  # sorts before all that may go on a name
_encode = msgspec.msgpack.Encoder().encode


class _Piece(NamedTuple):
    """Some deliveries of a lane (possibly none), and the place to go on from when they are done."""

    lane: int
    pause: str
    deliveries: list[WaitingDelivery]
    rest: WorkPlace


class QueueWorker:
    """Fulfils ports.queue_work.QueueWork. Any number of processes may work at the same time: a step changes mail that
    is still as it was read."""

    def __init__(
        self,
        store: QueueWorkStore,
        sweeps: SweepStore,
        load: StoreLoad,
        rules: Rules,
        sites: SiteLookup,
        node: str,
        backlog_soft: int,
        wall: Callable[[], int] = wall_ms,
    ) -> None:
        """`node` is named in the events; moves wait while the journal of a lane is more than `backlog_soft` behind."""
        self._store = store
        self._sweeps = sweeps
        self._load = load
        self._rules = rules
        self._sites = sites
        self._node = node
        self._backlog_soft = backlog_soft
        self._wall = wall

    async def waiting(self, selection: MailSelection, behind: PagePlace | None, most: int) -> WaitingPage:
        shares: dict[QueueKey, list[str]] = {}
        queues = await self._store.queues(selection)
        domains = await of_site(self._sites, selection.site, [queue.domain for queue, _ in queues])
        for queue, share in queues:
            if queue.domain in domains:
                shares.setdefault(queue, []).append(share)
        found: list[WaitingDelivery] = []
        looked = 0
        for queue in sorted(shares):
            if behind is not None and queue < behind.queue:
                continue
            place = behind if behind is not None and queue == behind.queue else PagePlace(queue)
            while True:
                asked = min(_READ, most) if selection.tag is None and selection.tenant is None else _READ
                page = await self._store.behind(place, shares[queue], asked)
                for one in page:
                    place = PagePlace(queue, one.due_at, one.id)
                    looked += 1
                    if selection.has(one.record):
                        found.append(one)
                        if len(found) == most:
                            return WaitingPage(found, place)
                if looked >= _LOOKED_AT:
                    return WaitingPage(found, place)
                if len(page) < asked:
                    break
        return WaitingPage(found, None)

    async def counts(
        self, selection: MailSelection, after: QueueKey | None, most: int
    ) -> tuple[list[QueueCounts], QueueKey | None]:
        return await QueueCounter(self._store, self._sweeps, self._sites).counts(selection, after, most, self._wall())

    async def retry(self, selection: MailSelection, rest: WorkPlace, until: float) -> WorkDone:
        moved = seen = 0
        async for piece in self._pieces(selection, rest, with_held=False):
            began, now = time.monotonic(), self._wall()
            later = [
                one
                for one in piece.deliveries
                if one.due_at > now and one.record.scheduled_at <= now and not is_closed(one.record.window, now)
            ]
            seen += len(later)
            for of, some in _by_queue(later):
                moved += await self._store.make_due(piece.lane, of, now, some)
            if time.monotonic() >= until:
                return WorkDone(moved, seen, 0, piece.rest)
            await asyncio.sleep((time.monotonic() - began) * _REST)
        return WorkDone(moved, seen, 0, None)

    async def move(self, selection: MailSelection, to_pool: str, rest: WorkPlace, until: float) -> WorkDone:
        moved = seen = kept = 0
        async for piece in self._pieces(selection, rest, with_held=True):
            began = time.monotonic()
            some = [one for one in piece.deliveries if one.queue.pool != to_pool]
            seen += len(some)
            for of, group in _by_queue(some):
                went, stayed = await self._move(piece, of, to_pool, group, until)
                moved += went
                kept += stayed
            rested = await self._rest_for_journal(piece.lane, until)
            if not rested or time.monotonic() >= until:
                return WorkDone(moved, seen, kept, piece.rest)
            await asyncio.sleep((time.monotonic() - began) * _REST)
        return WorkDone(moved, seen, kept, None)

    async def _rest_for_journal(self, lane: int, until: float) -> bool:
        """Wait while the lane's journal is far behind; False: it still is when the time is over."""
        while await self._load.backlog(lane) > self._backlog_soft:
            if time.monotonic() >= until:
                return False
            await asyncio.sleep(_BACKLOG_PAUSE)
        return True

    async def _move(
        self, piece: _Piece, of: QueueShare, to_pool: str, group: Sequence[WaitingDelivery], until: float
    ) -> tuple[int, int]:
        """How many went, and how many a rule keeps. Raises StoreAway where the rules change all the time."""
        while True:
            table, now = await self._rules(), self._wall()
            domain, site = of.queue.domain, None
            if table.asks_site:
                site = (await self._sites.find([domain])).get(domain)
            free = [one for one in group if not _is_ruled(table, one, piece.pause, to_pool, site)]
            if not free:
                return 0, len(group)
            changes = [self._change(one, to_pool, now) for one in free]
            generation = table.head.generation
            answer = await self._store.change_pool(piece.lane, piece.pause, generation, to_pool, of, changes)
            if answer is not None:
                return answer, len(group) - len(free)
            if time.monotonic() >= until:
                raise StoreAway("the rules change faster than they can be read; try again")
            await asyncio.sleep(_OLD_RULES_PAUSE)

    def _change(self, waiting: WaitingDelivery, to_pool: str, now: int) -> PoolChange:
        record = waiting.record
        event = delivery_event(
            EventType.MOVED, now, self._node, waiting.id, QueueKey(to_pool, waiting.queue.domain), record, NO_ATTEMPT,
            record.attempts, reason=f"from pool {waiting.queue.pool}", next_attempt=waiting.due_at,
            uncertain=record.uncertain or waiting.reclaims > 0,
        )  # fmt: skip
        return PoolChange(waiting, msgspec.structs.replace(record, seq=record.seq + 1), _encode(event))

    async def _pieces(self, selection: MailSelection, rest: WorkPlace, *, with_held: bool) -> AsyncIterator[_Piece]:
        """The selected deliveries from `rest` on, at most 100 at a time."""
        for lane in range(rest.lane, self._sweeps.lanes):
            begins = rest if rest.lane == lane else WorkPlace(lane)
            if not begins.held:
                async for piece in self._queued(selection, begins):
                    yield piece
            if with_held:
                async for piece in self._held(selection, begins if begins.held else WorkPlace(lane, True)):
                    yield piece

    async def _queued(self, selection: MailSelection, begins: WorkPlace) -> AsyncIterator[_Piece]:
        lane = begins.lane
        pools = await self._sweeps.pools() if selection.pool is None else [selection.pool]
        of_lane = [of for pool in pools for of in await self._sweeps.queues(lane, pool)]
        domains = await of_site(self._sites, selection.site, [of.queue.domain for of in of_lane])
        names = {
            f"{place_of(of.queue.pool, of.share)}|{of.queue.domain}": of
            for of in of_lane
            if of.queue.domain in domains
            and selection.has_queue(of.queue)
            and selection.tenant in (None, split_share(of.share)[0])
        }
        for name in sorted(names):
            if name < begins.name:
                continue
            queue, share = names[name]
            cursor = begins.cursor if name == begins.name else 0
            while True:
                before = WorkPlace(lane, False, name, cursor)
                cursor, page = await self._sweeps.scan(lane, queue, cursor, _PAGE, share)
                for piece in _pieces_of(before, "", cursor, [one for one in page if selection.has(one.record)]):
                    yield piece
                if not cursor:
                    break

    async def _held(self, selection: MailSelection, begins: WorkPlace) -> AsyncIterator[_Piece]:
        lane = begins.lane
        for pause in sorted(await self._sweeps.pauses(lane)):
            if pause < begins.name:
                continue
            cursor = begins.cursor if pause == begins.name else 0
            while True:
                before = WorkPlace(lane, True, pause, cursor)
                cursor, page = await self._sweeps.scan_held(lane, pause, cursor, _PAGE)
                domains = await of_site(self._sites, selection.site, [one.queue.domain for one in page])
                chosen = [
                    one
                    for one in page
                    if one.queue.domain in domains and selection.has_queue(one.queue) and selection.has(one.record)
                ]
                for piece in _pieces_of(before, pause, cursor, chosen):
                    yield piece
                if not cursor:
                    break


def _is_ruled(table: RuleTable, waiting: WaitingDelivery, pause: str, to_pool: str, site: str | None) -> bool:
    """Whether a rule is to end the delivery, or to hold it where it is queued, in its own pool or in the other. Then
    it stays, and the sweep of that rule finds it. A delivery that a pause holds already may be held in the other pool,
    too, unless an order with a bound counts it."""
    if table.is_empty:
        return False
    labels, domain = waiting.record.labels, waiting.queue.domain
    pools = waiting.queue.pool, to_pool
    rules = (table.match(pool, "", domain, labels, "", "", waiting.record, site) for pool in pools)
    return any(rule is not None and swept(rule) and (not pause or ends(rule) or is_counting(rule)) for rule in rules)


def _by_queue(some: Iterable[WaitingDelivery]) -> list[tuple[QueueShare, list[WaitingDelivery]]]:
    def queue_of(one: WaitingDelivery) -> QueueShare:
        return QueueShare(one.queue, one.share)

    return [(of, list(group)) for of, group in groupby(sorted(some, key=queue_of), key=queue_of)]


def _pieces_of(before: WorkPlace, pause: str, cursor: int, found: Sequence[WaitingDelivery]) -> Iterator[_Piece]:
    """A page in pieces of one step each. The page is read again where not all of it was done; behind the last page of a
    queue or a pause comes the next name."""
    after = before._replace(cursor=cursor) if cursor else before._replace(name=before.name + _BEHIND, cursor=0)
    most = max(0, len(found) - 1) // _PAGE * _PAGE
    for at in range(0, most, _PAGE):
        yield _Piece(before.lane, pause, list(found[at : at + _PAGE]), before)
    yield _Piece(before.lane, pause, list(found[most:]), after)
