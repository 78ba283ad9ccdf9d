"""Egress: the outlets of a worker, one per queue, as scheduling and the rules service see them."""

import asyncio
import contextlib
from collections.abc import Callable, Collection, Sequence

from mta.egress.house import House
from mta.egress.outlet import Outlet
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
        return self._outlet(queue).room()

    def may_begin(self, queue: QueueKey) -> bool:
        return self._outlet(queue).may_begin()

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
        await self._until(lambda: not any(outlet.busy for outlet in self._outlets.values()), end)
        for outlet in list(self._outlets.values()):
            outlet.drop(why)
        await self._until(lambda: not house.open, min(end, house.loop.time() + 1.0))
        for outlet in list(self._outlets.values()):
            outlet.abort()
        await self._until(lambda: not house.open, house.loop.time() + 1.0)

    async def close(self) -> None:
        """Stop at once: what has not handed over its dot is returned, what has ends as uncertain."""
        await self.drain(0.0)
        self._closed = True
        self._timer.cancel()

    def connections(self) -> list[str]:
        """One line for each connection, for people."""
        return [repr(connection) for outlet in self._outlets.values() for connection in outlet.connections]

    @property
    def open_connections(self) -> int:
        return self._house.open

    def metrics(self) -> dict[str, int]:
        """Counters since the start of the process, and the connections that are open now."""
        house = self._house
        return {
            "connections_out": house.open,
            "permit_stops:mail": house.permit_stops["mail"],
            "permit_stops:dot": house.permit_stops["dot"],
            "permit_aborts": house.permit_aborts,
            "escaped": house.escaped,
        }

    def __repr__(self) -> str:
        return f"<Egress outlets={len(self._outlets)} connections={self._house.open}>"

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
        self._share()
        for queue, outlet in list(self._outlets.items()):
            outlet.tick(now)
            if outlet.empty:
                del self._outlets[queue]
        self._house.forget_reachable(now)

    def _share(self) -> None:
        """When all connections are taken, queues that have none get those of the queue that has most."""
        if self._house.open < self._house.delivery.connections:
            return
        for _ in range(len(self._house.waiting)):
            richest = max(self._outlets.values(), key=lambda outlet: len(outlet.connections))
            richest.retire_one()


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
