"""The watch over the memory of idempotency keys: a line for each change, and no more."""

import logging

import pytest

from mta.runtime.key_watch import KeyWatch

LIMIT = 100 * 1024**2


class Load:
    def __init__(self) -> None:
        self.kept = 0
        self.asked = 0

    async def key_bytes(self) -> int:
        self.asked += 1
        return self.kept


async def test_it_warns_at_four_fifths_says_when_it_is_full_and_when_it_is_over(
    caplog: pytest.LogCaptureFixture,
) -> None:
    load, now = Load(), 0.0
    watch = KeyWatch(load, lambda: LIMIT, lambda: now)  # type: ignore[arg-type]
    told = []
    with caplog.at_level(logging.WARNING):
        for percent in (10, 79, 80, 95, 100, 130, 90, 75, 69, 79, 85):
            load.kept = LIMIT * percent // 100
            now += 10.0
            await watch.look()
            told.append((percent, [record.levelname for record in caplog.records]))
            caplog.clear()
    assert {percent: levels for percent, levels in told if levels} == {
        80: ["WARNING"], 100: ["ERROR"], 69: ["WARNING"], 85: ["WARNING"],
    }  # fmt: skip


async def test_it_asks_the_store_each_five_seconds() -> None:
    load, now = Load(), 0.0
    watch = KeyWatch(load, lambda: LIMIT, lambda: now)  # type: ignore[arg-type]
    for _ in range(12):
        await watch.look()
        now += 1.0
    assert load.asked == 3
