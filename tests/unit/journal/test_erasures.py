"""An erasure reaches the events that history has still to take from the spool."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

from mta.journal.erasures import Erasures
from mta.ports.history_orders import Erased, Erasure, ErasureReport
from tests.support.eventually import eventually


class Orders:
    """Erasures that were ordered, and the reports about them."""

    def __init__(self, *orders: Erasure) -> None:
        self.orders = orders
        self.reports: dict[str, ErasureReport] = {}

    async def erasures(self) -> Sequence[Erasure]:
        return self.orders

    async def report(self, erasure: str, report: ErasureReport) -> None:
        self.reports[erasure] = report


class Eraser:
    """A history of two days, in which each has one delivery of the address."""

    def days(self) -> Sequence[int]:
        return (1, 2)

    def erase(self, day: int, address: str, instead: str) -> Erased:
        return Erased(1, 3)

    def close(self) -> None: ...


def at_once(call: Callable[[], Any]) -> "Future[Any]":
    done: Future[Any] = Future()
    done.set_result(call())
    return done


async def test_it_waits_until_history_has_what_the_spool_held_at_the_order() -> None:
    written, end = 10, 15

    def mark() -> Callable[[], bool]:
        marked = end
        return lambda: written >= marked

    orders = Orders(Erasure("e1", "anna@a.test", "salt", 1))
    opened: list[Eraser] = []

    def open_eraser() -> Eraser:
        opened.append(Eraser())
        return opened[0]

    erasures = Erasures(orders, "n1", lambda address: (), open_eraser, at_once, mark)  # type: ignore[arg-type]
    await erasures.look()
    written, end = 14, 99  # what comes later does not hold it up
    await erasures.look()
    await asyncio.sleep(0)  # an erasure that was begun has opened it by now
    assert opened == []
    written = 15
    await erasures.look()
    await eventually(lambda: "e1" in orders.reports)
    assert (orders.reports["e1"].deliveries, orders.reports["e1"].events) == (2, 6)
    await erasures.look()
    await erasures.stop()
