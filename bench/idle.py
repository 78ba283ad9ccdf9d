"""The scenario `idle`: what a node costs that has nothing to do, by process."""

import argparse
import time
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import psutil

from bench.command import positive
from bench.flow import Flow, Load, result_of, start_source
from bench.machine import sync_latency
from bench.processes import Node
from bench.progress import Say
from bench.rig import directory, running
from bench.scenario import Figure, Run, Scenario, load_of, load_options
from bench.usage import by_role, server_version

_WAITING_RECIPIENTS = 10


class Spent(NamedTuple):
    """CPU time and switches of all threads of a process since its start."""

    seconds: float  # on a CPU
    waits: int  # times that it went to sleep by itself, and so was woken
    pushed: int  # times that another was given its CPU

    def since(self, before: "Spent") -> "Spent":
        return Spent(self.seconds - before.seconds, self.waits - before.waits, self.pushed - before.pushed)


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seconds", type=positive, default=30, help="how long the idle node is watched")
    parser.add_argument("--rest", type=positive, default=15, help="seconds of silence before that")
    parser.add_argument("--messages", type=positive, default=1000, help="messages relayed before")
    parser.add_argument("--waiting", type=positive, default=1000, help="deliveries that wait for a week meanwhile")
    load_options(parser)


def _run(load: Load, given: argparse.Namespace, root: Path, say: Say) -> Run:
    with directory(root) as place:
        disk = sync_latency(place)
        with running(place, load, say) as (node, sink):
            with Flow(node, sink, load, place, say) as flow:
                flow.end()
            _put_by(node, load, given.waiting, place)
            say(f"{given.rest} s of silence, then {given.seconds} s are watched")
            time.sleep(given.rest)
            processes = _watched(node, given.seconds)
            server = server_version(node.family())
    total = round(sum(use["percent_of_a_core"] for use in processes.values()), 3)
    say(f"{total} % of a core")
    return {
        "percent_of_a_core": total,
        "wakes_per_second": round(sum(use["wakes_per_second"] for use in processes.values()), 1),
        "idle": processes,
        "server": server,
        "fdatasync_ms": disk,
    }


def _put_by(node: Node, load: Load, deliveries: int, logs: Path) -> None:
    """Mail that is not due for a week: an idle node is seldom an empty one."""
    messages = -(-deliveries // _WAITING_RECIPIENTS)
    waiting = msgspec.structs.replace(load, messages=messages, size=512, sessions=min(load.sessions, messages))
    result_of(start_source(waiting, node.smtp, logs, "--waiting", str(_WAITING_RECIPIENTS)))


def _watched(node: Node, seconds: float) -> dict[str, dict[str, float]]:
    """The use of each process in that time; the node gets no request meanwhile."""
    family = by_role(node.family())
    start = time.monotonic()
    before = {role: spent_by(process) for role, process in family.items()}
    time.sleep(seconds)
    after = {role: spent_by(process) for role, process in family.items()}
    lasted = time.monotonic() - start
    found = {}
    for role, at_first in before.items():
        used = after[role].since(at_first)
        found[role] = {
            "percent_of_a_core": round(used.seconds / lasted * 100, 3),
            "wakes_per_second": round(used.waits / lasted, 1),
            "us_a_wake": round(used.seconds / max(used.waits, 1) * 1e6, 1),
            "pushed_per_second": round(used.pushed / lasted, 1),
        }
    return found


def spent_by(process: psutil.Process) -> Spent:
    """Over all threads of the process, to the microsecond (proc(5): schedstat, status); the clock's tick is coarse."""
    seconds, waits, pushed = 0.0, 0, 0
    for thread in Path(f"/proc/{process.pid}/task").iterdir():
        seconds += int((thread / "schedstat").read_text().split()[0]) / 1e9
        for line in (thread / "status").read_text().splitlines():
            if line.startswith("voluntary_ctxt_switches:"):
                waits += int(line.split()[1])
            elif line.startswith("nonvoluntary_ctxt_switches:"):
                pushed += int(line.split()[1])
    return Spent(seconds, waits, pushed)


_FIGURES = {
    "total": Figure("an idle node, all its processes, % of one core", lambda run: run["percent_of_a_core"]),
    "wakes": Figure("times a second that one of them wakes up", lambda run: run["wakes_per_second"]),
}


def _conditions(load: dict[str, Any], options: dict[str, Any]) -> str:
    return f"""
    A node with {load["workers"]} workers and its embedded server relays {load["messages"]:,} messages and takes
    {options["waiting"]:,} deliveries that are not due for a week. After {options["rest"]} s in which nothing comes,
    what each process uses is read from /proc at the beginning and at the end of {options["seconds"]} s in which it is
    asked nothing: time on a CPU by the scheduler's own account, over all threads, and voluntary context switches. A run
    is void when the mail relayed before was not accepted, received, logged and accounted for to the last message."""


def _lines(run: Run) -> list[str]:
    lines = ["| process | % of a core | wakes/s | us a wake | pushed off/s |", "|---|---|---|---|---|"]
    lines += [
        f"| {role} | {use['percent_of_a_core']} | {use['wakes_per_second']} | {use['us_a_wake']} | "
        f"{use['pushed_per_second']} |"
        for role, use in run["idle"].items()
    ]
    return lines


SCENARIO = Scenario(
    name="idle",
    about="An idle node: what share of a core each of its processes uses, and how often it wakes up.",
    takes="2 minutes",
    repeat=3,
    options=_options,
    load=lambda given: load_of(given, given.messages),
    run=_run,
    figures=_FIGURES,
    conditions=_conditions,
    lines=_lines,
)
