"""A child that does not end by itself is ended, and one whose end nobody hears of keeps no node from ending."""

import asyncio
import contextlib
import logging
import os
import resource
import signal
from pathlib import Path

import pytest

from mta.runtime.processes import Process, Role

DEAF = """
import os, sys, time
{more}
print("ready", flush=True)
time.sleep(60)
"""
# A process that inherits the pipe keeps it open: CPython 3.11 then never reports the end of the child.
HEIR = """
if not (heir := os.fork()):
    time.sleep(60)
    os._exit(0)
open({pid!r}, "w").write(str(heir))
"""


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def start(more: str = "") -> Process:
        (tmp_path / "deaf_child.py").write_text(DEAF.format(more=more))
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        process = Process("deaf", Role("deaf_child", 1), lambda heartbeat: b"{}\n", lambda pid: None, 60.0)
        process.start()
        return process

    return start


async def test_a_child_that_does_not_drain_is_killed(started, caplog: pytest.LogCaptureFixture) -> None:
    process = started()
    await asyncio.wait_for(process.ready.wait(), 20.0)
    pid = process.pid
    process.drain()
    with caplog.at_level(logging.ERROR):
        await asyncio.wait_for(process.gone(0.2), 4.0)
    assert [record.message for record in caplog.records] == [f"deaf (pid {pid}) did not drain within 0 s; it is killed"]
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_a_child_gets_a_hang_up_only_when_it_is_ready(started, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until then the signal would end it."""
    sent: list[int] = []
    monkeypatch.setattr(asyncio.subprocess.Process, "send_signal", lambda process, number: sent.append(number))
    process = started()
    async with asyncio.timeout(20.0):
        while process.pid is None:
            process.hang_up()
            await asyncio.sleep(0.001)
        process.hang_up()
        assert sent == []
        await process.ready.wait()
    process.hang_up()
    assert sent == [signal.SIGHUP]
    monkeypatch.undo()
    process.drain()
    await process.gone(0.1)


async def test_a_child_whose_end_is_not_heard_of_is_waited_for_within_bounds(
    started, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mta.runtime.processes._KILLED", 0.5)
    process = started(HEIR.format(pid=str(tmp_path / "pid")))
    await asyncio.wait_for(process.ready.wait(), 20.0)
    process.drain()
    try:
        done, _ = await asyncio.wait((asyncio.create_task(process.gone(0.2)),), timeout=5.0)
        assert done
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
        await asyncio.sleep(0.2)  # the pipe is closed before the loop is


def may_be_raised() -> bool:
    return os.geteuid() == 0 or resource.getrlimit(resource.RLIMIT_NICE)[0] >= 20


@pytest.mark.skipif(not may_be_raised(), reason="the system lets nobody raise a priority")
async def test_a_child_that_is_niced_drains_with_the_priority_of_its_supervisor(started) -> None:
    process = started("os.nice(7)")
    await asyncio.wait_for(process.ready.wait(), 20.0)
    own = os.getpriority(os.PRIO_PROCESS, 0)
    assert os.getpriority(os.PRIO_PROCESS, process.pid) == own + 7
    process.drain()
    assert os.getpriority(os.PRIO_PROCESS, process.pid) == own
    await process.gone(0.0)
