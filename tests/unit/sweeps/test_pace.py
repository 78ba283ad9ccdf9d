"""The pace of a sweep: as fast as it goes, and one step at a time while other mail loses of its rate."""

import asyncio
from collections.abc import Iterable

import pytest

from mta.sweeps.pace import Pace


class Store:
    def __init__(self) -> None:
        self.moved = 0

    async def backlog(self, lane: int) -> int:
        return 0

    async def traffic(self) -> int:
        return self.moved


class Rig:
    def __init__(self) -> None:
        self.store, self.time = Store(), 100.0
        self.pace = Pace(self.store, 0.0, 100, lambda: self.time)
        self.begun: list[str] = []
        self.answers: dict[str, asyncio.Event] = {}

    async def look(self, moved: int) -> None:
        """A second passes, in which other mail moves so often."""
        self.time += 1.0
        self.store.moved += moved
        await self.pace.wait(0, self.nothing)

    async def nothing(self) -> None:
        pass

    async def step(self, name: str) -> None:
        """Under way until it is answered."""
        async with self.pace.step():
            self.begun.append(name)
            await self.answers.setdefault(name, asyncio.Event()).wait()

    def answer(self, names: Iterable[str]) -> None:
        """Also steps that have not begun."""
        for name in names:
            self.answers.setdefault(name, asyncio.Event()).set()


@pytest.fixture
async def rig():
    made = Rig()
    await made.look(0)
    yield made
    made.answer(made.answers)


async def settle() -> None:
    """Lets every call go on that can."""
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.mark.parametrize("moved", [0, 99, 5000])
async def test_steps_go_together_while_other_mail_keeps_its_rate(rig: Rig, moved: int) -> None:
    await rig.look(moved)
    async with asyncio.TaskGroup() as group:
        for name in "abcd":
            group.create_task(rig.step(name))
        await settle()
        assert "".join(rig.begun) == "abcd"
        rig.answer("abcd")


async def test_before_the_rate_of_other_mail_is_known_steps_go_one_by_one() -> None:
    rig = Rig()
    async with asyncio.TaskGroup() as group:
        for name in "ab":
            group.create_task(rig.step(name))
        await settle()
        assert rig.begun == ["a"]
        rig.answers["a"].set()
        await settle()
        assert rig.begun == ["a", "b"]
        rig.answer("b")


async def test_one_that_failed_or_was_given_up_lets_the_next_go(rig: Rig) -> None:
    await rig.look(5000)
    await rig.look(0)
    await rig.look(200)
    first, second = (asyncio.create_task(rig.step(name)) for name in "ab")
    await settle()
    assert rig.begun == ["a"]
    first.cancel()
    await settle()
    assert rig.begun == ["a", "b"]
    rig.answers["b"].set()
    await second


@pytest.mark.parametrize(("now", "together"), [(600, 4), (400, 1)])
async def test_beside_mail_that_loses_of_its_rate_a_step_goes_alone(rig: Rig, now: int, together: int) -> None:
    await rig.look(5000)
    await rig.look(now)  # of late: 4,340 or 4,310 a second, and 0.9 of what it was is 4,320
    async with asyncio.TaskGroup() as group:
        for name in "abcd":
            group.create_task(rig.step(name))
        await settle()
        assert rig.begun == list("abcd"[:together])
        rig.answer("abcd")


async def test_a_rate_of_long_ago_says_nothing(rig: Rig) -> None:
    await rig.look(5000)
    rig.time += 60.0
    await rig.look(0)
    async with asyncio.TaskGroup() as group:
        for name in "ab":
            group.create_task(rig.step(name))
        await settle()
        assert rig.begun == ["a"]
        for name in "ab":
            rig.answers.setdefault(name, asyncio.Event()).set()


async def test_when_other_mail_ends_it_is_fast_again(rig: Rig) -> None:
    await rig.look(5000)
    await rig.look(0)
    async with asyncio.TaskGroup() as group:
        for name in "abcd":
            group.create_task(rig.step(name))
        await settle()
        assert "".join(rig.begun) == "abcd"
        for answer in rig.answers.values():
            answer.set()
