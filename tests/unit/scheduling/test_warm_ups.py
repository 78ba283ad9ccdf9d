"""The messages of a warm-up's day, over processes that hold slices of it."""

import asyncio
from collections.abc import Sequence

from mta.model.errors import StoreAway
from mta.model.limit_use import WarmUp
from mta.model.paths import SendingPath
from mta.model.pools import PoolSettings
from mta.policy.warm_up import DAY_MS, allowance
from mta.ports.delivery import WarmUpGiven
from mta.scheduling.warm_ups import WarmUps

IP, PATH = "192.0.2.1", SendingPath("big", "big.test", "news", "192.0.2.1")
POOLS = {"news": PoolSettings(ips=(IP, "192.0.2.2"), warmup=(3, 50), warm=("192.0.2.2",)), "old": PoolSettings()}


class Store:
    """As the step does it."""

    def __init__(self) -> None:
        self.state = WarmUp()
        self.away = False

    async def take_warm_up(
        self, site: str, ip: str, date: int, told: tuple[int, int, int], wanted: int, schedule: Sequence[int]
    ) -> WarmUpGiven:
        if self.away:
            raise StoreAway("no answer")
        day, at, taken, begun = self.state
        if told[0] == at:
            begun, taken = begun + told[1], max(0, taken - told[2])
        state = WarmUp(day, at, taken, begun).on(date) if at else WarmUp(1, date)
        messages = allowance(schedule, state.day) or 0
        granted = max(0, min(wanted, messages - state.taken)) if date == state.date else 0
        self.state = state._replace(taken=state.taken + granted)
        return WarmUpGiven(state.day, messages, granted)


class Days:
    def __init__(self) -> None:
        self.now = 20_000 * DAY_MS

    def __call__(self) -> int:
        return self.now


def warm_ups(store: Store, days: Days) -> WarmUps:
    made = WarmUps(store, clock=days)
    made.take_pools(POOLS)
    return made


async def send(process: WarmUps, most: int = 100) -> int:
    """As many messages as go, up to `most`."""
    sent = 0
    while sent < most and await process.admits("big", IP) == 0:
        while sent < most and process.take(PATH):
            sent += 1
        await asyncio.sleep(0)
    return sent


async def test_only_the_ips_of_a_warm_up_that_are_not_warm_are_counted() -> None:
    process = warm_ups(Store(), Days())
    assert [process.concerns(pool) for pool in ("news", "old", f"@{IP}", "@192.0.2.2")] == [True, False, True, False]
    assert [process.is_warming(ip) for ip in (IP, "192.0.2.2")] == [True, False]
    assert await process.admits("big", "192.0.2.2") == 0


async def test_two_processes_together_send_the_number_of_the_day() -> None:
    store, days = Store(), Days()
    first, second = warm_ups(store, days), warm_ups(store, days)
    assert await send(first, 1) + await send(second) + await send(first) == 3
    assert await first.admits("big", IP) > 0
    assert not first.take(PATH)


async def test_a_day_counts_only_if_mail_was_sent() -> None:
    store, days = Store(), Days()
    process = warm_ups(store, days)
    assert await process.admits("big", IP) == 0, "it holds a message and sends none"
    days.now += DAY_MS
    assert not process.take(PATH), "messages of yesterday are void"
    assert await send(process) == 3
    days.now += DAY_MS
    assert await send(process) == 50
    days.now += 5 * DAY_MS
    assert await send(process, 1000) == 1000, "the schedule has ended: it is warm"


async def test_a_process_that_died_loses_its_slice_and_nothing_is_sent_twice() -> None:
    store, days = Store(), Days()
    dead, other = warm_ups(store, days), warm_ups(store, days)
    assert await dead.admits("big", IP) == 0
    assert await send(other) == 2
    assert store.state.taken == 3


async def test_messages_that_are_not_needed_go_back_when_it_ends() -> None:
    store, days = Store(), Days()
    process, other = warm_ups(store, days), warm_ups(store, days)
    assert await process.admits("big", IP) == 0
    await process.drain()
    assert store.state.taken == 0
    assert await send(other) == 3


async def test_without_the_store_nothing_is_sent() -> None:
    store, days = Store(), Days()
    store.away = True
    process = warm_ups(store, days)
    assert await process.admits("big", IP) > 0
    assert not process.take(PATH)
