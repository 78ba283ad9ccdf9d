"""The journal's start while another process holds its log."""

import asyncio
import logging
from pathlib import Path

import pytest

from mta.log_file.delivery_log import DeliveryLog
from mta.log_file.lines import log_lines
from mta.runtime.journal import once_free


async def test_k2_a_log_that_a_killed_nodes_journal_still_holds_is_waited_for_and_that_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited = asyncio.Event()

    async def rest(seconds: float) -> None:
        waited.set()
        await asyncio.tasks.sleep(0)

    monkeypatch.setattr("mta.runtime.journal.asyncio.sleep", rest)
    path = tmp_path / "delivery.jsonl"
    first = DeliveryLog(str(path), log_lines)
    with caplog.at_level(logging.WARNING):
        waiting = once_free(lambda: DeliveryLog(str(path), log_lines), "journal.log_path", str(path), asyncio.Event())
        opening = asyncio.create_task(waiting)
        await waited.wait()
        waited.clear()
        await waited.wait()
        assert not opening.done()
        first.close()
        log = await opening
    assert log is not None
    log.close()
    assert len(caplog.records) == 1
    assert str(path) in caplog.text


async def test_a_stop_ends_the_wait(tmp_path: Path) -> None:
    first = DeliveryLog(str(tmp_path / "delivery.jsonl"), log_lines)
    stopping = asyncio.Event()
    stopping.set()
    path = str(tmp_path / "delivery.jsonl")
    assert await once_free(lambda: DeliveryLog(path, log_lines), "journal.log_path", path, stopping) is None
    first.close()
