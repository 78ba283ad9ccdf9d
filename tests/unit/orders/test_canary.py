"""The canary: an order that matches nothing, one in a period for all nodes."""

import asyncio
import logging
from collections.abc import Callable

import pytest

from mta.model.canaries import CanaryFlight
from mta.model.errors import StoreAway
from mta.orders.canary import Canary
from mta.rules.guard import Guard
from tests.support.memory_rules import MemoryRules, Shared


class Turns:
    """Fulfils ports.canaries.Canaries."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.flights: list[CanaryFlight] = []
        self.allowed = 1
        self.away = 0
        self.asked = 0

    async def asked_until(self, true: Callable[[], bool]) -> None:
        while not true():  # noqa: ASYNC110 - turns are asked for all the time
            await asyncio.sleep(0.005)

    async def turn(self, node: str, period: float) -> float:
        self.asked += 1
        if self.away:
            self.away -= 1
            raise StoreAway("away")
        if len(self.taken) >= self.allowed:
            return 0.01
        self.taken.append(node)
        return 0.0

    async def save(self, flight: CanaryFlight) -> None:
        self.flights.append(flight)

    async def last(self) -> CanaryFlight | None:
        return self.flights[-1] if self.flights else None


class Rig:
    def __init__(self, staleness: float = 5.0) -> None:
        self.shared, self.turns = Shared(), Turns()
        self.api = MemoryRules(self.shared, "api", staleness)
        self.guards = [Guard(MemoryRules(self.shared, name, staleness), "n1") for name in ("w1", "w2")]

    def canary(self, node: str = "n1", period: float = 0.01) -> Canary:
        return Canary(self.api, self.turns, node, period)

    async def confirming(self) -> None:
        while True:
            for guard in self.guards:
                await guard.beat()
            await asyncio.sleep(0.005)


async def test_a_canary_is_effective_once_each_process_has_confirmed_it_and_leaves_no_rule() -> None:
    rig = Rig()
    for guard in rig.guards:
        await guard.beat()
    flying = asyncio.create_task(rig.canary().fly())
    await asyncio.sleep(0.03)
    await rig.guards[0].beat()
    await asyncio.sleep(0.03)
    assert not flying.done()
    await rig.guards[1].beat()
    flight = await flying
    assert flight is not None
    assert (flight.node, flight.unconfirmed, flight.trouble()) == ("n1", (), "")
    assert 0.05 < flight.seconds < 5
    assert rig.shared.rules == {}
    assert rig.shared.barriers == [rig.shared.head.generation]
    assert [len(guard.table) for guard in rig.guards] == [0, 0]
    assert rig.guards[0].table.head == rig.shared.head


async def test_a_process_that_does_not_confirm_is_named_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig(staleness=1.0)
    for guard in rig.guards:
        await guard.beat()
    flying = asyncio.create_task(rig.canary().fly())
    await asyncio.sleep(0.02)
    await rig.guards[0].beat()
    with caplog.at_level(logging.WARNING, "mta.orders.canary"):
        flight = await flying
    assert flight is not None
    assert [name.split("/")[0] for name in flight.unconfirmed] == ["w2"]
    assert "w2" in caplog.text
    assert "w1" not in caplog.text
    assert "only the time stopped" in flight.trouble()


@pytest.mark.parametrize(("seconds", "tells"), [(0.9, False), (1.1, True)])
def test_a_slow_canary_is_told_of(seconds: float, tells: bool) -> None:
    assert bool(CanaryFlight(1, seconds, "n1").trouble()) is tells


async def test_two_nodes_give_one_in_a_period_and_go_on_after_a_store_that_was_away() -> None:
    rig = Rig()
    confirming = asyncio.create_task(rig.confirming())
    canaries = [rig.canary("n1"), rig.canary("n2")]
    running = [asyncio.create_task(canary.run()) for canary in canaries]
    try:
        async with asyncio.timeout(30.0):
            await rig.turns.asked_until(lambda: len(rig.turns.flights) == 1)
            asked = rig.turns.asked
            await rig.turns.asked_until(lambda: rig.turns.asked >= asked + 10)
            assert len(rig.turns.flights) == len(rig.turns.taken) == 1
            rig.turns.allowed = 2
            await rig.turns.asked_until(lambda: len(rig.turns.flights) == 2)
    finally:
        for canary in canaries:
            canary.stop()
        await asyncio.gather(*running)
        confirming.cancel()
