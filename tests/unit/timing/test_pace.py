"""Tasks that begin in a crowd share the turns of the loop."""

import asyncio

from mta.timing.pace import Pace


async def test_so_many_begin_in_a_turn_and_in_order() -> None:
    pace, begun = Pace(3), list[int]()

    async def work(number: int) -> None:
        await pace.turn()
        begun.append(number)

    tasks = [asyncio.ensure_future(work(number)) for number in range(12)]
    tasks[4].cancel()
    sizes = []
    while not all(task.done() for task in tasks):
        before = len(begun)
        await asyncio.sleep(0)
        sizes.append(len(begun) - before)
    assert begun == [0, 1, 2, 3, 5, 6, 7, 8, 9, 10, 11]
    assert max(sizes) <= 3
    await asyncio.wait_for(pace.turn(), 30.0)


async def test_one_that_is_cancelled_in_line_takes_no_place() -> None:
    pace, begun = Pace(1), list[str]()

    async def work(name: str) -> None:
        await pace.turn()
        begun.append(name)

    tasks = {name: asyncio.ensure_future(work(name)) for name in "abc"}
    await asyncio.sleep(0)
    tasks["b"].cancel()
    await asyncio.wait_for(tasks["c"], 30.0)
    assert begun == ["a", "c"]
