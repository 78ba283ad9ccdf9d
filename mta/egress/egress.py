"""Egress: the outlets of a worker, one per queue, as scheduling and the rules service see them."""

import asyncio
import contextlib
import heapq
from collections.abc import Callable, Collection, Sequence

from mta.egress.house import House
from mta.egress.outlet import Outlet
from mta.model import process_metrics as told
from mta.model.ids import MessageId
from mta.model.mail import Claimed, QueueKey
from mta.model.rules import PastDot
from mta.model.settings import Settings
from mta.policy.rule_table import RuleTable
from mta.ports.content import Content
from mta.ports.delivery import Limits, Resolver, Settle
from mta.ports.rules import Rules

_LONGEST_TICK = 1.0
_SHORTEST_TICK = 0.02


class Egress:
    """Implements `ports.Deliver`. Made inside the running loop; registers its hooks with `rules`."""

    def __init__(
        self, settings: Settings, resolver: Resolver, rules: Rules, settle: Settle, limits: Limits, content: Content
    ) -> None:
        self._house = House(settings, resolver, rules, settle, limits, content)
        self._outlets: dict[QueueKey, Outlet] = {}
        self._tick_every = _tick(settings)
        self._timer = self._house.loop.call_later(self._tick_every, self._tick)
        self._closed = False
        self._table = RuleTable.empty()  # that `on_change` saw last
        rules.on_change(self.on_change)
        rules.on_cancel(self.on_cancel)
        rules.on_permit(self._on_permit)
        rules.on_lost(self.drop_all)

    def room(self, queue: QueueKey) -> int:
        outlet = self._outlets.get(queue)
        if (outlet is None or not outlet.connections) and self._house.budget.crowded():
            return 0  # and no outlet is made for each of many queues that are only asked about
        return self._outlet(queue).room()

    def may_begin(self, queue: QueueKey) -> bool:
        outlet = self._outlets.get(queue)
        return self._house.budget.free > 0 if outlet is None else outlet.may_begin()

    def take(self, deliveries: Sequence[Claimed]) -> None:
        if deliveries:
            outlet = self._outlet(deliveries[0].queue)
            outlet.take(deliveries)
            if self._house.draining:
                outlet.give_back("this worker is stopping")

    def on_change(self, table: RuleTable) -> list[PastDot]:
        """The rule table was swapped: everything that matches ends now, or is listed as past its dot (or begun, for a
        rule that lets it finish)."""
        past: list[PastDot] = []
        if len(table):
            fresh = table.fresh_since(self._table)
            for outlet in list(self._outlets.values()):
                past += outlet.on_change(table, fresh)
        self._table = table
        return past

    def on_cancel(self, messages: Collection[MessageId]) -> None:
        """These messages are canceled: what has not handed over its dot ends now."""
        for outlet in list(self._outlets.values()):
            outlet.on_cancel(messages)

    def drop_all(self) -> None:
        """The session is lost: its claims are others'. What has handed over its dot is still settled, late."""
        for outlet in list(self._outlets.values()):
            outlet.drop(None)

    async def drain(self, grace: float) -> None:
        """Take nothing more, return what was not begun, let running transactions end; after `grace` seconds give
        up those whose dot was not handed over, and close the rest as uncertain."""
        house = self._house
        house.draining = True
        why = "this worker is stopping"
        for outlet in list(self._outlets.values()):
            outlet.give_back(why)
        end = house.loop.time() + grace
        await self._until(lambda: not any(outlet.connections.busy for outlet in self._outlets.values()), end)
        for outlet in list(self._outlets.values()):
            outlet.drop(why)
        await self._until(lambda: not house.budget.busy, min(end, house.loop.time() + 1.0))
        for outlet in list(self._outlets.values()):
            outlet.abort()
        await self._until(lambda: not house.budget.busy, house.loop.time() + 1.0)

    async def close(self) -> None:
        """Stop at once: what has not handed over its dot is returned, what has ends as uncertain."""
        await self.drain(0.0)
        self._closed = True
        self._timer.cancel()

    def connections(self) -> list[str]:
        """One line for each connection, for people."""
        return [repr(connection) for outlet in self._outlets.values() for connection in outlet.connections.all]

    @property
    def open_connections(self) -> int:
        return self._house.budget.open

    def metrics(self) -> dict[str, int]:
        """Counters since the start of the process, and the connections that are open now."""
        house = self._house
        return {
            told.CONNECTIONS_OUT.key: house.budget.open,
            told.PERMIT_STOPS.of("mail"): house.permit_stops["mail"],
            told.PERMIT_STOPS.of("dot"): house.permit_stops["dot"],
            told.PERMIT_ABORTS.key: house.permit_aborts,
            told.ESCAPED.key: house.escaped,
        }

    def __repr__(self) -> str:
        return f"<Egress outlets={len(self._outlets)} connections={self._house.budget.open}>"

    async def _until(self, done: Callable[[], bool], end: float) -> None:
        """Wait until `done`, or the loop time `end`."""
        progress = self._house.progress
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(end):
                while not done():
                    progress.clear()
                    await progress.wait()

    def _outlet(self, queue: QueueKey) -> Outlet:
        outlet = self._outlets.get(queue)
        if outlet is None:
            outlet = self._outlets[queue] = Outlet(self._house, queue)
        return outlet

    def _on_permit(self) -> None:
        for outlet in list(self._outlets.values()):
            outlet.look_again()

    def _tick(self) -> None:
        if self._closed:
            return
        now = self._house.loop.time()
        self._timer = self._house.loop.call_later(self._tick_every, self._tick)
        self._house.budget.tick(now)
        self._share(now)
        for queue, outlet in list(self._outlets.items()):
            outlet.tick(now)
            if outlet.empty:
                del self._outlets[queue]
        self._house.forget_reachable(now)

    def _share(self, now: float) -> None:
        """When all places are taken, destinations without a connection get those of the destinations that have most.
        A connection whose peer has been silent for long gives way first; what handed over its dot never does."""
        budget = self._house.budget
        if budget.free or not budget.wanting:
            return
        outlets = list(self._outlets.values())
        standings = [outlet.connections.standing(now) for outlet in outlets]
        wanted = budget.wanting - sum(leaving for _, leaving in standings)
        for outlet in outlets:
            if wanted <= 0:
                return
            wanted -= outlet.end_silent(now, wanted)
        rich = [(-able, at) for at, (able, _) in enumerate(standings) if able]
        heapq.heapify(rich)
        for _ in range(wanted):
            if not rich:
                return
            able, at = rich[0]
            outlets[at].connections.retire_one(now)
            if able < -1:
                heapq.heapreplace(rich, (able + 1, at))
            else:
                heapq.heappop(rich)


def _tick(settings: Settings) -> float:
    """A quarter of the shortest timeout, within reason: deadlines are met that late at most."""
    delivery = settings.delivery
    shortest = min(
        delivery.idle_timeout,
        delivery.command_timeout,
        delivery.data_timeout,
        delivery.dot_timeout,
        delivery.dot_hold,
    )
    return min(_LONGEST_TICK, max(_SHORTEST_TICK, shortest / 4))
