"""Stacks as a sampler of Python processes counted them, and what they add up to by function and by module."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

PYTHON, LIBRARY, WRITE, READ, POLL, SYNC = "Python", "libraries", "write", "read", "poll", "sync"
SYSTEM_CALLS = (WRITE, READ, POLL, SYNC)

_FRAME = re.compile(r"^(?P<function>.*) \((?P<path>.*?)(?::\d+)?\)$", re.DOTALL)
_PACKAGE = re.compile(r"^.*(?:/site-packages/|/lib-dynload/|/python3\.\d+/|/(?=(?:mta|control_api|bench)/))")
_INTERPRETER = re.compile(r"/Python-3[^/]*/|/(?:lib)?python3[^/]*$|/lib-dynload/")
_NOBODYS = re.compile(r"\.h$|/(?:libc|libm|libpthread|ld-linux)[^/]*$|^\[vdso\]$|/libc\.musl[^/]*$")
_CALLS = {
    **dict.fromkeys(("write", "writev", "send", "sendto", "sendmsg"), WRITE),
    **dict.fromkeys(("read", "readv", "recv", "recvfrom", "recvmsg"), READ),
    **dict.fromkeys(("epoll_wait", "epoll_pwait", "epoll_pwait2", "epoll_ctl", "poll", "select"), POLL),
    **dict.fromkeys(("fsync", "fdatasync"), SYNC),
}
_SLEEPS = {"epoll_wait", "epoll_pwait", "epoll_pwait2", "poll", "select", "wait4", "waitid", "clock_nanosleep"}
_SLEEPS |= {"PyThread_acquire_lock_timed", "take_gil", "pthread_cond_wait", "pthread_cond_timedwait"}
_NEAR_THE_LEAF = 4  # frames between a system call and what tells that it sleeps


class Frame(NamedTuple):
    """One function of a stack; `path` begins at the package; `owner`: PYTHON, LIBRARY, or empty where nobody's."""

    function: str
    path: str
    owner: str
    source: bool  # a function in Python

    def __str__(self) -> str:
        return f"{self.path}:{self.function}"


class Stack(NamedTuple):
    """How often these frames, outermost first, were seen."""

    frames: tuple[Frame, ...]
    weight: float

    @property
    def kind(self) -> str:
        """The kind of work of the sample: a system call, or code of the interpreter or of a library."""
        leaf = self.frames[-1]
        if not leaf.owner and leaf.function in _CALLS:
            return _CALLS[leaf.function]
        return next((frame.owner for frame in reversed(self.frames) if frame.owner), PYTHON)

    @property
    def asleep(self) -> bool:
        """It waits: a sampler that meets it has seen a process that waited for a core, or was just woken."""
        return any(frame.function in _SLEEPS for frame in self.frames[-_NEAR_THE_LEAF:])

    @property
    def python(self) -> Frame:
        """The innermost function in Python: its calls in C count as its own."""
        return next((frame for frame in reversed(self.frames) if frame.source), self.frames[-1])


def parsed(lines: Iterable[str]) -> Iterator[Stack]:
    """The stacks of py-spy's raw format: `outermost;...;innermost count`."""
    for line in lines:
        text, _, count = line.rstrip("\n").rpartition(" ")
        if text and count.isdigit():
            yield Stack(tuple(map(frame_of, text.split(";"))), int(count))


@lru_cache(maxsize=50_000)
def frame_of(text: str) -> Frame:
    """`function (path:line)` as a frame, without what is this machine's in its path."""
    found = _FRAME.match(text)
    function, path = (found["function"], found["path"]) if found else (text, "")
    if path.endswith((".py", ">")):
        return Frame(function, _PACKAGE.sub("", path), PYTHON, True)
    owner = PYTHON if _INTERPRETER.search(path) else "" if _NOBODYS.search(path) else LIBRARY
    if "/site-packages/" in path:
        short = _PACKAGE.sub("", path)
    else:
        short = "/".join(path.split("/")[-1 if ".so" in path else -2 :])
    return Frame("?" if function.startswith("0x") else function, short, owner, False)


def total(stacks: Iterable[Stack]) -> float:
    return sum(stack.weight for stack in stacks)


def counted(stacks: Iterable[Stack], of: Callable[[Stack], Iterable[str]]) -> dict[str, float]:
    """Samples by each of what `of` says of a stack, most first."""
    found: dict[str, float] = defaultdict(float)
    for stack in stacks:
        for name in of(stack):
            found[name] += stack.weight
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def callers(stack: Stack) -> set[str]:
    """Each function in Python that was running or had called what was."""
    return {str(frame) for frame in stack.frames if frame.source}
