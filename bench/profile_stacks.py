"""Stacks as a sampler counted them, and what they add up to by function and by module."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

_FRAME = re.compile(r"^(?P<function>.*) \((?P<path>.*?)(?::\d+)?\)$", re.DOTALL)
_ROOTS = ("/site-packages/", "/lib-dynload/", re.compile(r"/python3\.\d+/"), re.compile(r"(?=/(?:mta|control_api|bench)/)"))


class Frame(NamedTuple):
    """One function of a stack; `path` begins at the package, where there is one."""

    function: str
    path: str

    def __str__(self) -> str:
        return f"{self.path}:{self.function}" if self.path else self.function


class Stack(NamedTuple):
    """How often these frames, outermost first, were seen."""

    frames: tuple[Frame, ...]
    count: float

    @property
    def leaf(self) -> Frame:
        return self.frames[-1]


def parsed(lines: Iterable[str]) -> Iterator[Stack]:
    """The stacks of py-spy's raw format: `outermost;...;innermost count`."""
    for line in lines:
        text, _, count = line.rstrip("\n").rpartition(" ")
        if text and count.isdigit():
            yield Stack(tuple(map(frame_of, text.split(";"))), int(count))


@lru_cache(maxsize=50_000)
def frame_of(text: str) -> Frame:
    """`function (path:line)` as a frame."""
    found = _FRAME.match(text)
    return Frame(found["function"], shortened(found["path"])) if found else Frame(text, "")


def shortened(path: str) -> str:
    """A path without what is this machine's: it begins at the package, or at the library's name."""
    for root in _ROOTS:
        if isinstance(root, str):
            before, found, after = path.rpartition(root)
            if found:
                return after
        elif len(pieces := root.split(path)) > 1:
            return pieces[-1].lstrip("/")
    return path.rpartition("/")[2] if ".so" in path else path


def total(stacks: Iterable[Stack]) -> float:
    return sum(stack.count for stack in stacks)


def by_self(stacks: Iterable[Stack]) -> Counter[str]:
    """Samples by the function that was running."""
    found: Counter[str] = Counter()
    for stack in stacks:
        found[str(stack.leaf)] += stack.count
    return found


def cumulative(stacks: Iterable[Stack]) -> Counter[str]:
    """Samples by each function that was running or had called what was."""
    found: Counter[str] = Counter()
    for stack in stacks:
        for name in {str(frame) for frame in stack.frames}:
            found[name] += stack.count
    return found
