"""The legs of a profile: the same flow through a fresh node, watched in another way each time."""

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

import psutil

from bench import profile_perf
from bench.flow import Flow, Load
from bench.processes import RunVoid
from bench.profile_perf import Part
from bench.profile_server import ServerLink, ServerWatch, Spent
from bench.profile_stacks import Stack, parsed
from bench.progress import Say
from bench.rig import directory, running
from bench.usage import by_role, server_version, spent, usage

SERVER = "valkey"
_LATE = 30.0  # seconds that a sampler may take to write what it has seen
_FEW = 0.02  # of the server's commands, that may be lost between two looks at its log
_T = TypeVar("_T")


class Watched(NamedTuple):
    """The arguments of a watcher: all processes by role, the server's URL, a folder, and the duration."""

    processes: Mapping[str, psutil.Process]
    server: str
    place: Path
    seconds: float


class Leg(NamedTuple, Generic[_T]):
    """The measurements of a leg; `saw` are those of its watcher."""

    rate: float  # messages/s
    messages: int
    cpu_us: dict[str, float]  # of each process, per message
    function_calls: float  # of the server, per message
    server: str
    saw: _T


Watcher = Callable[[Watched], Callable[[], _T]]  # watches; what it gives is asked once the load has ended


def leg(load: Load, seconds: float, watch: Watcher[_T], root: Path, say: Say) -> Leg[_T]:
    """One flow, watched for `seconds` while it runs at its rate. Raises RunVoid."""
    with directory(root) as place, running(place, load, say) as (node, sink):
        with Flow(node, sink, load, place, say, endless=True) as flow:
            flow.settle()
            processes = by_role(psutil.Process().children(recursive=True))
            before, calls, start = usage(list(processes.values())), function_calls(node.redis), flow.mark()
            seen = watch(Watched(processes, node.redis, place, seconds))
            used, end = spent(before, usage(list(processes.values()))), flow.mark()
            calls = function_calls(node.redis) - calls
            flow.end()
        messages = max(end.received - start.received, 1) // load.recipients
        cpu = {role: round(use["cpu_seconds"] / messages * 1e6, 2) for role, use in used.items()}
        version = server_version(node.family())
        return Leg(start.rate_until(end) / load.recipients, messages, cpu, calls / messages, version, seen())


def function_calls(server: str) -> int:
    """How many functions the server has run."""
    link = ServerLink(server)
    try:
        said = link.ask("INFO", "commandstats").decode()
    finally:
        link.close()
    return sum(map(int, re.findall(r"cmdstat_fcall\w*:calls=(\d+)", said)))


def alone(watched: Watched) -> Callable[[], None]:
    """Nothing watches."""
    time.sleep(watched.seconds)
    return lambda: None


def server_commands(watched: Watched) -> Callable[[], dict[str, Spent]]:
    """The server tells each command."""
    with ServerWatch(watched.server) as server:
        time.sleep(watched.seconds)
    if server.missed > _FEW * server.seen:
        raise RunVoid(f"the server's log of commands lost {server.missed} beside {server.seen}")
    return server.spent


class Looks(NamedTuple):
    """The figures of perf: for each process the shares of its kinds of work, for the server those of its parts."""

    kinds: dict[str, dict[str, float]]
    parts: dict[str, Part]


def looks(watched: Watched) -> Callable[[], Looks]:
    """perf looks at all processes."""
    names = {process.pid: role for role, process in watched.processes.items() if role != SERVER}
    server = watched.processes[SERVER].pid
    all_of_them, stacks = watched.place / "perf.data", watched.place / "perf-server.data"
    _wait(
        {
            "perf": profile_perf.record(all_of_them, names, watched.seconds, whole_stacks=False),
            "perf of the server": profile_perf.record(stacks, [server], watched.seconds, whole_stacks=True),
        },
        watched.seconds,
    )

    def seen() -> Looks:
        of_server = (sample for sample in profile_perf.samples(stacks) if sample.pid == server)
        return Looks(profile_perf.kinds(profile_perf.samples(all_of_them), names), profile_perf.parts(of_server))

    return seen


def python_stacks(rate: int) -> Watcher[dict[str, list[Stack]]]:
    """py-spy looks at the stacks of each Python process, so often a second."""

    def watch(watched: Watched) -> Callable[[], dict[str, list[Stack]]]:
        files = {role: watched.place / f"stacks-{number}" for number, role in enumerate(watched.processes)}
        del files[SERVER]
        started = {
            f"py-spy of {role}": _py_spy(watched.processes[role].pid, file, rate, watched.seconds)
            for role, file in files.items()
        }
        _wait(started, watched.seconds)
        return lambda: {
            role: list(parsed(file.read_text(errors="replace").splitlines())) for role, file in files.items()
        }

    return watch


def py_spy() -> str:
    """The program. Raises SystemExit where it is not installed."""
    beside = Path(sys.executable).parent / "py-spy"
    found = str(beside) if beside.is_file() else shutil.which("py-spy")
    if found is None:
        raise SystemExit("python -m bench: py-spy is not installed; pip install -e '.[bench]' installs it")
    return found


def _py_spy(pid: int, into: Path, rate: int, seconds: float) -> "subprocess.Popen[bytes]":
    command = [py_spy(), "record", "--native", "--full-filenames", "--format", "raw", "--rate", str(rate)]
    command += ["--duration", str(max(round(seconds), 1)), "--output", str(into), "--pid", str(pid)]
    with into.with_suffix(".log").open("wb") as errors:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=errors, stderr=errors)


def _wait(samplers: Mapping[str, "subprocess.Popen[bytes]"], seconds: float) -> None:
    """Until all have ended. Raises RunVoid when one fails, or does not end."""
    deadline = time.monotonic() + seconds + _LATE
    try:
        for name, sampler in samplers.items():
            if sampler.wait(max(deadline - time.monotonic(), 0.1)) != 0:
                raise RunVoid(f"{name} ended with status {sampler.returncode}; may this user look at other processes?")
    except subprocess.TimeoutExpired:
        raise RunVoid(f"a sampler has not ended {_LATE:.0f} s after its time") from None
    finally:
        for sampler in samplers.values():
            if sampler.poll() is None:
                sampler.kill()
                sampler.wait()
