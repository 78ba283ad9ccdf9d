import asyncio

from mta.timing import cancelling
from mta.timing.cancelling import cancel_all


async def test_a_task_that_swallows_one_cancellation_is_cancelled_again(monkeypatch) -> None:
    """As a watcher of the store's did whose call was about to fail: its process outlived its node for good."""
    monkeypatch.setattr(cancelling, "_AGAIN", 0.01)
    swallowed = asyncio.Event()

    async def deaf() -> None:
        try:
            await asyncio.sleep(60.0)
        except asyncio.CancelledError:
            swallowed.set()
        await asyncio.sleep(60.0)

    tasks = [
        asyncio.create_task(deaf()),
        asyncio.create_task(asyncio.sleep(60.0)),
        asyncio.create_task(asyncio.sleep(0)),
    ]
    await asyncio.sleep(0)
    async with asyncio.timeout(30.0):
        await cancel_all(tasks)
    assert swallowed.is_set()
    assert all(task.done() for task in tasks)


async def test_no_task_is_waited_for() -> None:
    await cancel_all([])
