"""A child that does not end by itself is ended, and one whose end nobody hears of keeps no node from ending."""

import asyncio
import logging
import os
import resource
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from mta.runtime.child import boot_line
from mta.runtime.fork_client import ForkClient, ForkedChild
from mta.runtime.processes import Process, Role
from tests.support.scheduling import SETTINGS

DEAF = """
import os, time

async def main(child):
    {more}
    child.ready()
    time.sleep(60)
"""
Start = Callable[..., Process]


@pytest.fixture
async def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Start]:
    forks = ForkClient([])
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    def start(more: str = "pass") -> Process:
        (tmp_path / "deaf_child.py").write_text(DEAF.format(more=more))
        boot = boot_line(SETTINGS, "", (), None, -1)
        process = Process("deaf", Role("deaf_child", 1), forks, lambda heartbeat: boot, lambda pid: None, 60.0)
        process.start()
        return process

    yield start
    await forks.close()


async def test_a_child_that_does_not_drain_is_killed(started, caplog: pytest.LogCaptureFixture) -> None:
    process = started()
    await asyncio.wait_for(process.ready.wait(), 30.0)
    pid = process.pid
    process.drain()
    with caplog.at_level(logging.ERROR):
        await asyncio.wait_for(process.gone(0.2), 30.0)
    assert [record.message for record in caplog.records] == [f"deaf (pid {pid}) did not drain within 0 s; it is killed"]
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_a_child_gets_a_hang_up_only_when_it_is_ready(
    started, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Until then the signal would end it."""
    may_be_ready = tmp_path / "may be ready"
    sent: list[int] = []
    monkeypatch.setattr(ForkedChild, "send_signal", lambda process, number: sent.append(number))
    process = started(f"while not os.path.exists({str(may_be_ready)!r}): time.sleep(0.01)")
    async with asyncio.timeout(30.0):
        while process.pid is None:
            process.hang_up()
            await asyncio.sleep(0.001)
        process.hang_up()
        assert sent == []
        may_be_ready.touch()
        await process.ready.wait()
    process.hang_up()
    assert sent == [signal.SIGHUP]
    monkeypatch.undo()
    process.drain()
    await process.gone(0.1)


async def test_a_child_whose_end_is_not_heard_of_is_waited_for_within_bounds(
    started: Start, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As of one that waits for a disk that does not answer: no signal ends it."""
    monkeypatch.setattr("mta.runtime.processes._KILLED", 0.2)
    process = started()
    await asyncio.wait_for(process.ready.wait(), 30.0)
    pid = process.pid
    assert pid is not None
    with monkeypatch.context() as patch:
        patch.setattr(ForkedChild, "send_signal", lambda process, number: None)
        process.drain()
        async with asyncio.timeout(30.0):
            await process.gone(0.1)
    assert caplog.messages[-1] == f"deaf (pid {pid}) was killed and has not ended yet"
    os.kill(pid, signal.SIGKILL)


def may_be_raised() -> bool:
    return os.geteuid() == 0 or resource.getrlimit(resource.RLIMIT_NICE)[0] >= 20


@pytest.mark.skipif(not may_be_raised(), reason="the system lets nobody raise a priority")
async def test_a_child_that_is_niced_drains_with_the_priority_of_its_supervisor(started) -> None:
    process = started("os.nice(7)")
    await asyncio.wait_for(process.ready.wait(), 30.0)
    own = os.getpriority(os.PRIO_PROCESS, 0)
    assert os.getpriority(os.PRIO_PROCESS, process.pid) == own + 7
    process.drain()
    assert os.getpriority(os.PRIO_PROCESS, process.pid) == own
    await process.gone(0.0)
