"""Profiles by perf: the share of each system call in the time of a process, and of each part of the server."""

import shutil
import subprocess
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from bench.profile_stacks import LIBRARY, POLL, PYTHON, READ, SYNC, WRITE

FAULTS, KERNEL = "page faults", "kernel beside these"
_EVENT = ("-e", "cpu-clock")  # wherever the processor's own counters are not to be had
_RATE = "499"
_ENOUGH = 100  # samples of a process below which their shares say nothing
_STACK_BYTES = "8192"  # of the server, whose libraries keep no frame pointers
_CALLS = (
    (SYNC, ("sys_fdatasync", "sys_fsync")),
    (POLL, ("sys_epoll", "sys_poll", "sys_select", "futex")),
    (WRITE, ("ksys_write", "do_writev", "sys_send", "sys_writev", "__sys_sendto", "__sys_sendmsg")),
    (FAULTS, ("exc_page_fault",)),
    (READ, ("ksys_read", "do_readv", "sys_recv", "sys_readv", "__sys_recvfrom", "__sys_recvmsg")),
)

# Functions of the server that a call stack may hold, and the part of its work that they are; the first that fits
# decides. Where the stack of a script was too deep to be kept whole, its innermost part shows Lua.
_PARTS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("functions: commands they run", ("fcallCommand>call", "fcallroCommand>call", "VM_CallArgv", "scriptCall")),
    ("functions: Lua", ("fcallCommand", "fcallroCommand", "lua_", "luaL_", "luaV_", "murmur32")),
    ("server: AOF synced", ("fdatasync", "fsync")),
    ("server: AOF written", ("flushAppendOnlyFile",)),
    ("server: AOF lines made", ("feedAppendOnlyFile",)),
    ("server: XRANGE, XTRIM and other commands", ("processCommand>call",)),
    ("server: requests read and parsed", ("readQueryFromClient", "processInputBuffer")),
    ("server: replies written", ("writeToClient", "_writeToClient", "handleClientsWithPendingWrites")),
    ("server: poll", ("epoll_wait", "epoll_pwait")),
)
COMMANDS_OF_FUNCTIONS, LUA = _PARTS[0][0], _PARTS[1][0]
_REST = "server: the rest"


class Sample(NamedTuple):
    """One look at a process; symbols and files innermost first."""

    pid: int
    symbols: tuple[str, ...]
    files: tuple[str, ...]
    in_kernel: bool


def at_hand() -> bool:
    return shutil.which("perf") is not None


def record(into: Path, pids: Iterable[int], seconds: float, *, whole_stacks: bool) -> "subprocess.Popen[bytes]":
    """Looks at the processes for so long; `whole_stacks`: also where code keeps no frame pointers."""
    stacks = f"dwarf,{_STACK_BYTES}" if whole_stacks else "fp"
    command = ["perf", "record", *_EVENT, "-F", _RATE, "--call-graph", stacks, "-o", str(into)]
    command += ["-p", ",".join(map(str, pids)), "--", "sleep", str(seconds)]
    with into.with_suffix(".log").open("wb") as errors:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=errors, stderr=errors)


def samples(recorded: Path) -> Iterator[Sample]:
    """The recorded samples; none where perf was not allowed to record."""
    command = ["perf", "script", "-i", str(recorded), "-F", "pid,ip,sym,dso", "--no-inline"]
    told = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    yield from parsed(told.stdout)


def parsed(text: str) -> Iterator[Sample]:
    """`perf script -F pid,ip,sym,dso`: a process, its frames from the innermost on, an empty line."""
    for block in text.split("\n\n"):
        head, *lines = block.strip().splitlines() or [""]
        frames = [line.split(None, 1) for line in lines]
        if not head.strip().isdigit() or not all(len(frame) == 2 for frame in frames) or not frames:
            continue
        named = [frame[1].rsplit(" (", 1) for frame in frames]
        yield Sample(
            int(head),
            tuple(symbol for symbol, *_ in named),
            tuple(rest[0].rstrip(")") if rest else "" for _, *rest in named),
            frames[0][0].startswith("ffff") and len(frames[0][0]) == 16,
        )


def kind_of(sample: Sample) -> str:
    """The system call, else the code that the processor was in: the kernel's, a library's or the interpreter's."""
    if not sample.in_kernel:
        return LIBRARY if "/site-packages/" in sample.files[0] else PYTHON
    for kind, names in _CALLS:
        if any(name in symbol for name in names for symbol in sample.symbols):
            return kind
    return KERNEL


def part_of(sample: Sample) -> str:
    """The part of the server's work that it was at."""
    outermost_first = ">".join(reversed(sample.symbols))
    for part, names in _PARTS:
        if any(_holds(outermost_first, name) for name in names):
            return part
    return _REST


def _holds(path: str, name: str) -> bool:
    """`a>b`: b somewhere within a; a name that ends in `_` stands for all that begin so."""
    at = 0
    for word in name.split(">"):
        found = f">{path}>".find(f">{word}" if word.endswith("_") else f">{word}>", at)
        if found < 0:
            return False
        at = found + len(word)
    return True


def shares(names: Iterable[str]) -> dict[str, float]:
    """The share that each name has in all of them, the largest first."""
    found: dict[str, float] = defaultdict(float)
    for name in names:
        found[name] += 1
    whole = sum(found.values())
    return {name: count / whole for name, count in sorted(found.items(), key=lambda item: -item[1])}


class Part(NamedTuple):
    """A part of the server's work."""

    share: float  # of its time
    in_kernel: float  # of this share


def parts(taken: Iterable[Sample]) -> dict[str, Part]:
    """The parts of the server's work, the largest first."""
    found: dict[str, list[bool]] = defaultdict(list)
    for sample in taken:
        found[part_of(sample)].append(sample.in_kernel)
    whole = sum(map(len, found.values()))
    ordered = sorted(found.items(), key=lambda item: -len(item[1]))
    return {name: Part(len(each) / whole, sum(each) / whole) for name, each in ordered}


def kinds(taken: Iterable[Sample], names: Mapping[int, str]) -> dict[str, dict[str, float]]:
    """By process, the share of each kind; empty where the kernel is hidden from who measures."""
    found: dict[str, list[str]] = defaultdict(list)
    for sample in taken:
        if sample.pid in names:
            found[names[sample.pid]].append(kind_of(sample))
    if not any(kind in (WRITE, READ) for each in found.values() for kind in each):
        return {}
    return {name: shares(each) for name, each in found.items() if len(each) >= _ENOUGH}
