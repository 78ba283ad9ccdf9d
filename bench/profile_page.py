"""The page of a profile: one table of all stages, and what it was made from."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any

from bench.profile_table import COLUMNS, LOAD
from bench.report import heading, machine_lines

Cells = Counter[str]  # microseconds by column
_ALL = "all"
_OF_IT = ("system_calls", "libraries")
_SHOWN = 0.05  # us

_METHOD = """
The CPU that each process used per message in the leg that nothing watched, shared out: of a Python process by the
stacks that py-spy saw (C code and system calls counted for the function in Python that called them), weighed by the
share that perf saw of each kind of work, because a sampler that stops a process takes one that waits for a core for one
that runs; of the server by the call stacks that perf saw, its functions by the time that each took by the log of
commands. A stage is told by files and functions (`bench/profile_stages.py`); what is in no stage, as the Redis client,
counts for whoever called it. Functions of the server took longer by the clock than they used the processor wherever
processes had to wait for a core."""
_WITHOUT_PERF = """
perf was not there, or not allowed to see the kernel: system calls have the weight that py-spy gave them, what polls is
left out, the server's functions count as long as they took, and the rest of the server is one row."""


def page(result: dict[str, Any]) -> str:
    """The profile for people."""
    method = _METHOD if result["kinds"] else _METHOD + _WITHOUT_PERF
    lines = [
        *heading(result),
        f"Scenario `{result['file']['name']}`: {result['file']['about']}",
        "",
        "## Where each microsecond of a message goes",
        "",
        *stage_table(result),
        "",
        " ".join(method.split()),
        "",
        *_load_lines(result),
        "",
        "## What watching cost",
        "",
        *_leg_table(result),
        "",
        *_kind_table(result),
        "",
        *_command_table(result),
        "",
        *machine_lines(result),
    ]
    return "\n".join(lines) + "\n"


def stage_table(result: dict[str, Any]) -> list[str]:
    """Stages by group, the dearest group first; columns are processes."""
    groups: dict[str, dict[str, Cells]] = defaultdict(lambda: defaultdict(Counter))
    for row in result["stages"]:
        if row["column"] != LOAD:
            cells = Counter({name: row[name] for name in _OF_IT} | {row["column"]: row["us"], _ALL: row["us"]})
            groups[row["stage"].partition(": ")[0]][row["stage"]].update(cells)
    titles = (*COLUMNS, "all, us per message", "of it system calls", "of it libraries in C")
    lines = ["| stage | " + " | ".join(titles) + " |", "|---" * (len(titles) + 1) + "|"]
    sums = {group: _sum(stages.values()) for group, stages in groups.items()}
    for group in sorted(groups, key=lambda group: -sums[group][_ALL]):
        lines.append(_line(f"**{group}**", sums[group]))
        if len(groups[group]) > 1:
            stages = sorted(groups[group].items(), key=lambda item: -item[1][_ALL])
            lines += [_line(stage, cells) for stage, cells in stages if cells[_ALL] >= _SHOWN]
    return [*lines, _line("**all**", _sum(sums.values()))]


def _sum(many: Iterable[Cells]) -> Cells:
    found: Cells = Counter()
    for cells in many:
        found.update(cells)
    return found


def _line(title: str, cells: Cells) -> str:
    shown = (f"{cells[name]:.1f}" if cells[name] >= _SHOWN else "" for name in (*COLUMNS, _ALL, *_OF_IT))
    return "| " + " | ".join([title, *shown]) + " |"


def _load_lines(result: dict[str, Any]) -> list[str]:
    used = result["legs"][0]["cpu_us"]
    load = ", ".join(
        f"{role.removeprefix('bench.')} {us:.1f}" for role, us in used.items() if role.startswith("bench.")
    )
    return [f"Beside these, the load itself, us per message: {load}."]


def _leg_table(result: dict[str, Any]) -> list[str]:
    roles = list(result["legs"][0]["cpu_us"])
    titles = ("watched by", "messages/s", "functions called per 1,000 messages", *roles)
    lines = ["| " + " | ".join(titles) + " |", "|---" * len(titles) + "|"]
    for leg in result["legs"]:
        each = " | ".join(f"{leg['cpu_us'].get(role, 0.0):.1f}" for role in roles)
        lines.append(f"| {leg['watched_by']} | {leg['rate']:,} | {leg['function_calls'] * 1000:.0f} | {each} |")
    samples = ", ".join(f"{role} {count:,.0f}" for role, count in result["samples"].items())
    told = (
        "CPU in us per message. Where a leg calls more functions per message than the one that nothing watched, its "
        "batches were smaller, and calls of the store weigh more in its samples. Stacks that py-spy saw, those that "
        f"slept included: {samples}."
    )
    return [*lines, "", told]


def _kind_table(result: dict[str, Any]) -> list[str]:
    """Nothing where perf saw nothing."""
    kinds = sorted({kind for each in result["kinds"].values() for kind in each})
    if not kinds:
        return []
    lines = ["## What the processors did, as perf saw it", "", "| process | " + " | ".join(kinds) + " |"]
    lines.append("|---" * (len(kinds) + 1) + "|")
    for role, each in result["kinds"].items():
        lines.append(f"| {role} | " + " | ".join(f"{each.get(kind, 0.0):.1%}" for kind in kinds) + " |")
    return lines


def _command_table(result: dict[str, Any]) -> list[str]:
    lines = [
        "## What the server ran",
        "",
        "The time of a function contains that of the commands it runs; a command's own row has both.",
        "",
        "| command | calls per 1,000 messages | us each | us per message |",
        "|---|---|---|---|",
    ]
    for name, each in result["server_commands"].items():
        us = each["per_1000"] * each["us_each"] / 1000
        if us >= 0.05:
            lines.append(f"| {name} | {each['per_1000']:.1f} | {each['us_each']:.1f} | {us:.2f} |")
    return lines
