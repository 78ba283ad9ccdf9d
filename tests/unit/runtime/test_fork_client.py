"""Children are forked from a process that has imported their program, and are the supervisor's own."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from mta.runtime.child import boot_line
from mta.runtime.fork_client import ForkClient, ForkedChild
from tests.support.node import command_of, module_of, until
from tests.support.scheduling import SETTINGS
from tests.support.scheduling import until as soon

PROGRAM = """
import os, random, threading

imported = os.getpid()

async def main(child):
    told = os.open({told!r}, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    open_now = sorted(int(name) for name in os.listdir("/proc/self/fd"))
    os.write(told, repr((os.getpid(), imported, open_now, threading.active_count(), random.random())).encode() + b"\\n")
    os.close(told)
    child.ready()
    await child.stopping.wait()
    {last}
"""


class Forks:
    """A client, a program that writes a line about itself when it begins, and those lines."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.client = ForkClient(["forked_program"])
        self.program()

    def program(self, last: str = "pass") -> None:
        text = PROGRAM.format(told=str(self.folder / "told"), last=last)
        (self.folder / "forked_program.py").write_text(text)

    async def fork(self, module: str = "forked_program", inherited: tuple[int, ...] = ()) -> ForkedChild:
        child = await self.client.fork(module, inherited)
        child.write(boot_line(SETTINGS, "", (), None, -1))
        async with asyncio.timeout(30.0):
            assert await child.stdout.readline() == b"ready\n"
        return child

    async def end(self, child: ForkedChild) -> int:
        child.close_stdin()
        async with asyncio.timeout(30.0):
            return await child.wait()

    @property
    def told(self) -> list[tuple[int, int, list[int], int, float]]:
        return [eval(line) for line in (self.folder / "told").read_text().splitlines()]

    @property
    def server(self) -> psutil.Process:
        """Once there is one: that before it has been killed, and may be about to end."""

        def alone() -> psutil.Process | None:
            found = [one for one in psutil.Process().children() if module_of(one) == "mta.runtime.fork_server"]
            return found[0] if len(found) == 1 else None

        return until(alone)


@pytest.fixture
async def forks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Forks]:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    made = Forks(tmp_path)
    yield made
    await made.client.close()
    assert [one for one in psutil.Process().children() if "floodgate: " in command_of(one)] == []


async def test_a_child_has_the_program_of_the_server_and_its_own_descriptors(forks: Forks) -> None:
    reading, writing = os.pipe()
    high = os.dup2(writing, 300)
    child = await forks.fork(inherited=(reading, high))
    assert psutil.Process(child.pid).ppid() == os.getpid()
    assert module_of(psutil.Process(child.pid)) == "forked_program"
    other = await forks.fork()
    assert [await forks.end(one) for one in (child, other)] == [0, 0]
    first, second = forks.told
    assert first[:2] == (child.pid, forks.server.pid), "imported before the fork"
    assert first[2][:3] == [0, 1, 2]
    assert {reading, high} < set(first[2])
    # Those of the test, of its event loop (a selector, a pair of sockets), the list of /proc, and the open file.
    assert len(first[2]) == len(second[2]) + 2
    assert first[3] == 1, "no thread was started before the fork"
    assert first[4] != second[4], "each child has random numbers of its own"
    for descriptor in (reading, writing, high):
        os.close(descriptor)


async def test_the_end_of_a_child_is_heard_of_with_its_status(forks: Forks) -> None:
    killed, failed, early = await forks.fork(), None, None
    killed.send_signal(signal.SIGKILL)
    assert await asyncio.wait_for(killed.wait(), 30.0) == -signal.SIGKILL
    killed.send_signal(signal.SIGKILL)  # to nobody
    early = await forks.client.fork("there_is_no_such_module", ())
    assert await asyncio.wait_for(early.wait(), 30.0) == 1
    forks.program("import sys; sys.exit(7)")
    (forks.folder / "failing_program.py").write_text((forks.folder / "forked_program.py").read_text())
    failed = await forks.fork("failing_program")
    assert await forks.end(failed) == 7


async def test_a_server_that_dies_is_replaced_and_its_children_live_on(forks: Forks) -> None:
    before = await forks.fork()
    first = forks.server
    first.kill()
    await soon(lambda: not first.is_running() or first.status() == psutil.STATUS_ZOMBIE)
    after = None
    for _ in range(3):  # the death may be heard of during a request, which then fails
        try:
            after = await forks.fork()
            break
        except OSError:
            continue
    assert after is not None
    assert forks.server.pid != first.pid
    assert not before.has_ended
    assert [await forks.end(before), await forks.end(after)] == [0, 0]


async def test_a_server_that_stands_still_is_replaced(forks: Forks, monkeypatch: pytest.MonkeyPatch) -> None:
    await forks.end(await forks.fork())
    monkeypatch.setattr("mta.runtime.fork_client._PATIENCE", 0.2)
    first = forks.server
    first.suspend()
    with pytest.raises(OSError, match="the fork server does not answer for 0 s"):
        await forks.client.fork("forked_program", ())
    monkeypatch.undo()
    monkeypatch.setenv("PYTHONPATH", str(forks.folder))
    child = await forks.fork()
    assert forks.server.pid != first.pid
    assert await forks.end(child) == 0


async def test_orphans_of_a_child_are_waited_for(forks: Forks) -> None:
    (forks.folder / "parent_program.py").write_text(
        "import os, time\n"
        "async def main(child):\n"
        "    if not (other := os.fork()):\n"
        "        time.sleep(60)\n"
        f"    open({str(forks.folder / 'orphan')!r}, 'w').write(str(other))\n"
        "    child.ready()\n"
        "    os._exit(3)\n"
    )
    child = await forks.fork("parent_program")
    assert await asyncio.wait_for(child.wait(), 30.0) == 3
    orphan = int((forks.folder / "orphan").read_text())
    os.kill(orphan, signal.SIGKILL)
    await soon(lambda: not psutil.pid_exists(orphan))


SUPERVISOR = """
import asyncio, os, sys
from mta.model.settings import NodeSettings, Settings
from mta.runtime.child import boot_line
from mta.runtime.fork_client import ForkClient

SETTINGS = Settings(node=NodeSettings(name="n1", data_dir="/nowhere"))

client = ForkClient(["forked_program"])
client.begin()

async def main():
    child = await client.fork("forked_program", ())
    child.write(boot_line(SETTINGS, "", (), None, -1))
    await child.stdout.readline()
    print(child.pid, client._server, flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


def test_a_child_drains_and_the_server_ends_when_the_supervisor_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    Forks(tmp_path).program(f"open({str(tmp_path / 'drained')!r}, 'w')")
    supervisor = subprocess.Popen([sys.executable, "-P", "-c", SUPERVISOR], stdout=subprocess.PIPE, text=True)
    assert supervisor.stdout is not None
    with supervisor, supervisor.stdout as said:
        pids = [int(word) for word in said.readline().split()]
        supervisor.kill()
    assert len(pids) == 2

    def ended(pid: int) -> bool:
        try:
            return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True

    until(lambda: all(map(ended, pids)))
    assert (tmp_path / "drained").exists()
