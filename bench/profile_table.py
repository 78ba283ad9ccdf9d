"""Where each microsecond of a message goes: the CPU of each process, shared out by what its samples say."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from bench.profile_perf import COMMANDS_OF_FUNCTIONS, FAULTS, KERNEL, LUA, Part
from bench.profile_server import Spent
from bench.profile_stacks import LIBRARY, POLL, PYTHON, SYSTEM_CALLS, Stack, total
from bench.profile_stages import OTHER, stage_of, step_of

WORKERS, JOURNAL, OTHERS, SERVER, LOAD = "workers", "journal", "others", "server", "load"
COLUMNS = (WORKERS, JOURNAL, OTHERS, SERVER)
_CODE = "code"
_FUNCTIONS = (COMMANDS_OF_FUNCTIONS, LUA)


class Row(NamedTuple):
    """One stage in the processes of one column; microseconds of CPU per message."""

    column: str
    stage: str
    us: float
    system_calls: float  # of these
    libraries: float  # of these


def column_of(role: str) -> str:
    """Roles that are there twice are numbered."""
    base = role.rstrip(" 0123456789")
    if base.startswith("bench."):
        return LOAD
    return {"worker": WORKERS, "journal": JOURNAL, "valkey": SERVER}.get(base, OTHERS)


def weighed(stacks: Sequence[Stack], kinds: Mapping[str, float]) -> list[Stack]:
    """The stacks, each kind of work given the weight that perf saw it have.

    A sampler that stops a process to look takes one that waits for a core for one that runs; such samples gather where
    processes sleep, wake and are preempted, in system calls. Without `kinds` only what sleeps is taken out.
    """
    awake = [stack for stack in stacks if not stack.asleep or (kinds and stack.kind == POLL)]
    if not kinds:
        return awake
    looked: dict[str, float] = defaultdict(float)
    for kind, share in kinds.items():
        looked[_group(kind)] += share
    counts: dict[str, float] = defaultdict(float)
    for stack in awake:
        counts[_group(stack.kind)] += stack.weight
    whole = total(awake)
    return [
        stack._replace(weight=stack.weight * looked[_group(stack.kind)] / (counts[_group(stack.kind)] / whole))
        for stack in awake
    ]


def _group(kind: str) -> str:
    return _CODE if kind in (PYTHON, LIBRARY, FAULTS, KERNEL) else kind


def python_rows(cpu_us: Mapping[str, float], stacks: Mapping[str, Sequence[Stack]]) -> list[Row]:
    """The stages of the Python processes, of stacks that are weighed."""
    sums: dict[tuple[str, str], list[float]] = defaultdict(lambda: [0.0, 0.0, 0.0])
    for role, cpu in cpu_us.items():
        column, seen = column_of(role), stacks.get(role, ())
        whole = total(seen)
        if column != SERVER and not whole:
            sums[column, OTHER][0] += cpu
        for stack in seen:
            us, row = stack.weight / whole * cpu, sums[column, stage_of(stack)]
            row[0] += us
            row[1] += us if stack.kind in SYSTEM_CALLS else 0.0
            row[2] += us if stack.kind == LIBRARY else 0.0
    return [Row(column, stage, *found) for (column, stage), found in sums.items()]


def server_rows(cpu_us: float, parts: Mapping[str, Part], steps: Mapping[str, float]) -> list[Row]:
    """The server's: `parts` by share, its functions shared out by the time that each step took.

    Without `parts` the steps count as long as they took, and what is left of the CPU is not told apart.
    """
    took = sum(steps.values())
    functions = cpu_us * sum(parts[part].share for part in _FUNCTIONS if part in parts) if parts else min(took, cpu_us)
    rows = [Row(SERVER, step, functions * us / took, 0.0, 0.0) for step, us in steps.items()]
    for name, part in parts.items():
        if name not in _FUNCTIONS:
            rows.append(Row(SERVER, name, cpu_us * part.share, cpu_us * part.in_kernel, 0.0))
    if not parts:
        rows.append(Row(SERVER, "server: requests, replies, AOF", cpu_us - functions, 0.0, 0.0))
    return rows


def steps(commands: Mapping[str, Spent], messages: int) -> dict[str, float]:
    """Microseconds per message that each step of the server's functions took."""
    found: dict[str, float] = defaultdict(float)
    for name, spent in commands.items():
        if step := step_of(name):
            found[step] += spent.us / messages
    return found
