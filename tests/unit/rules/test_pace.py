"""The pace of a sweep: alone as fast as it goes, beside other mail one step at a time with rests between."""

import asyncio

import pytest

from mta.rules.pace import Pace


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
        self.running = self.most = 0

    async def look(self, moved: int) -> None:
        """A second passes, in which other mail moves so often."""
        self.time += 1.0
        self.store.moved += moved
        await self.pace.wait(0, self.nothing)

    async def nothing(self) -> None:
        pass

    async def step(self) -> None:
        async with self.pace.step():
            self.running += 1
            self.most = max(self.most, self.running)
            await asyncio.sleep(0)
            self.running -= 1


@pytest.mark.parametrize(("moved", "at_once"), [(99, 4), (100, 1)])
async def test_steps_are_made_one_at_a_time_beside_other_mail_only(moved: int, at_once: int) -> None:
    rig = Rig()
    await rig.look(0)
    await rig.look(moved)
    await asyncio.gather(*(rig.step() for _ in range(4)))
    assert rig.most == at_once


async def test_when_other_mail_ends_it_is_fast_again() -> None:
    rig = Rig()
    await rig.look(0)
    await rig.look(5000)
    await rig.look(0)
    await asyncio.gather(*(rig.step() for _ in range(4)))
    assert rig.most == 4
