"""A hold of the loop is counted once, with its length."""

import asyncio
import time

import pytest

from mta.timing.loop_watch import LoopWatch
from tests.support.scheduling import until


async def test_a_loop_that_is_held_is_noticed_and_one_that_runs_is_not() -> None:
    watch = LoopWatch()
    watch.start()
    try:
        await asyncio.sleep(0.05)
        time.sleep(0.4)  # noqa: ASYNC251  # that is what is watched for
        await until(lambda: watch.holds >= 1)  # a busy machine may have held it, too
        assert watch.longest >= 0.2
    finally:
        watch.stop()


def test_the_longest_hold_is_forgotten_after_two_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = LoopWatch()
    monkeypatch.setattr(watch, "start", lambda: None)
    watch._due = time.monotonic() - 5.0
    watch._look()
    assert (watch.holds, watch.longest > 4.9) == (1, True)
    for minute in range(2):
        for _ in range(600):
            watch._due = time.monotonic() + 1.0
            watch._look()
        assert (watch.longest > 4.9) is (minute == 0)
