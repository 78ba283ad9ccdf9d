"""The scenario `rules`: what many active rules, and many changes of them, cost the mail that none of them matches."""

import argparse
import asyncio
import os
import signal
import statistics
import time
from pathlib import Path
from typing import Any

import msgspec

from bench.changes import change, create, delivering
from bench.command import positive
from bench.flow import Flow, Load, calibrate
from bench.machine import sync_latency
from bench.processes import Node, RunVoid, Sink
from bench.progress import Say
from bench.ranks import shown
from bench.report import process_table
from bench.rig import directory, running
from bench.rule_mix import KINDS
from bench.scenario import Figure, Run, Scenario, load_of, load_options

_BACK_WITHIN = 60.0
_POLL = 0.1  # each look makes the API read all rules: more often would measure the looking


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rules", type=positive, default=10_000, help="active rules")
    parser.add_argument("--connections", type=positive, default=8, help="REST connections that create them")
    parser.add_argument("--messages", type=positive, default=30_000, help="messages of each leg, with and without")
    parser.add_argument("--pairs", type=positive, default=4, help="legs without the rules, each followed by one with")
    parser.add_argument("--changes", type=positive, default=100, help="changes a second under full load")
    parser.add_argument("--seconds", type=positive, default=20, help="of changes; half as long without them before")
    load_options(parser)


def _run(load: Load, given: argparse.Namespace, root: Path, say: Say) -> Run:
    with directory(root) as place:
        disk = sync_latency(place)
        with running(place, load, say, data="with") as (node, _):
            created = asyncio.run(create(node, given.rules, given.connections, say))
        legs = [_pair(place, load, number, given.pairs, say) for number in range(1, given.pairs + 1)]
        with running(place, load, say, data="with") as (node, sink):
            changes = _changes(node, sink, load, place, given, say)
    last = legs[-1]["with"]
    return {
        "created": created,
        "legs": [{name: _leg(leg[name]) for name in leg} for leg in legs],
        "ratios": [round(leg["with"]["rate"] / leg["without"]["rate"], 4) for leg in legs],
        "changes": changes,
        "messages": last["messages"],
        "processes": last["processes"],
        "server": last["server"],
        "fdatasync_ms": disk,
    }


def _pair(place: Path, load: Load, number: int, pairs: int, say: Say) -> dict[str, dict[str, Any]]:
    """The relay without the rules, then with them: one node at a time, so that neither disturbs the other."""
    found = {}
    for name in ("without", "with"):
        say(f"pair {number} of {pairs}, {name} the rules")
        with running(place, load, say, data=name) as (node, sink):
            ready_after = node.ready_after
            calibrate(node, sink, _warm_up(load), place, say)
            with Flow(node, sink, load, place, say) as flow:
                found[name] = flow.end() | {"ready_after_s": ready_after}
            found[name]["replaced_after_s"] = _replacement(node, say)
    return found


def _warm_up(load: Load) -> Load:
    """The unmeasured load before a leg: it opens connections and fills caches."""
    return msgspec.structs.replace(load, messages=max(load.messages // 10, 1))


def _leg(flow: dict[str, Any]) -> dict[str, Any]:
    kept = ("rate", "intake_rate", "ready_after_s", "replaced_after_s", "handover_to_receipt_ms", "processes")
    return {name: flow[name] for name in kept}


def _replacement(node: Node, say: Say) -> float:
    """Kills one worker; seconds until another stands in its place and has confirmed the table. Raises RunVoid."""
    before = delivering(node)
    victim = min(before)
    start = time.monotonic()
    os.kill(victim, signal.SIGKILL)
    while True:
        new = {pid: lag for pid, lag in delivering(node).items() if pid not in before}
        seconds = time.monotonic() - start
        if new and not any(new.values()):
            say(f"a killed worker was replaced, with the whole table, after {seconds:.2f} s")
            return round(seconds, 3)
        if seconds > _BACK_WITHIN:
            raise RunVoid(f"{_BACK_WITHIN:.0f} s after worker {victim} was killed no other has the table")
        time.sleep(_POLL)


def _changes(node: Node, sink: Sink, load: Load, place: Path, given: argparse.Namespace, say: Say) -> dict[str, Any]:
    """Changes at a steady pace beside the relay at full load, on top of all the rules."""
    say(f"{given.changes} changes a second for {given.seconds} s at full load")
    with Flow(node, sink, load, place, say, endless=True) as flow:
        flow.settle()
        before = flow.window(max(given.seconds / 2, 1.0))
        start = flow.mark()
        found = asyncio.run(change(node, given.changes, given.seconds, say))
        during = start.rate_until(flow.mark())
        flow.end()
    return found | {"relay_before": before, "relay_during": during, "relay_kept": round(during / before, 3)}


_FIGURES = {
    "ratio": Figure(
        "relay rate with the rules, by without (median of the pairs)", lambda r: statistics.median(r["ratios"])
    ),
    "ratio_least": Figure("the same, least pair", lambda run: min(run["ratios"])),
    "ratio_most": Figure("the same, largest pair", lambda run: max(run["ratios"])),
    "with": Figure("messages/s with the rules (median)", lambda run: _median(run, "with", "rate")),
    "without": Figure("messages/s without (median)", lambda run: _median(run, "without", "rate")),
    "created": Figure("rules created/s over REST", lambda run: run["created"]["created_per_second"]),
    "confirmed": Figure(
        "the last of them confirmed everywhere after, s", lambda run: run["created"]["confirmed_after_s"]
    ),
    "ready_with": Figure(
        "start of a node until ready, with the rules, s", lambda run: _median(run, "with", "ready_after_s")
    ),
    "restart_with": Figure(
        "killed worker replaced and up to date, with the rules, s",
        lambda run: _median(run, "with", "replaced_after_s"),
    ),
    "restart_without": Figure("the same, without", lambda run: _median(run, "without", "replaced_after_s")),
    "changes": Figure("changes effective at their answer, share", lambda run: _effective(run["changes"])),
    "changes_p99": Figure("change to answer, p99, ms", lambda run: run["changes"]["latency_ms"].get("p99")),
    "kept": Figure(
        "share of its rate that the relay kept beside the changes", lambda run: run["changes"]["relay_kept"]
    ),
}


def _median(run: Run, name: str, figure: str) -> float:
    return float(statistics.median(leg[name][figure] for leg in run["legs"]))


def _effective(changes: dict[str, Any]) -> float:
    return float(changes["effective"] / changes["changes"])


def _conditions(load: dict[str, Any], options: dict[str, Any]) -> str:
    return f"""
    {options["rules"]:,} forced errors, a fifth each by {", ".join(KINDS)}, close to the relayed mail and matching
    none of it, created over REST from {options["connections"]} connections with `wait=0`; then, once all processes
    had confirmed them and their sweeps were done, {options["pairs"]} times by turns {load["messages"]:,} messages
    of {load["size"]:,} bytes through a node without and one with them, each node started anew on its own directory,
    one at a time, after a tenth as many unmeasured. After each leg one worker is killed (SIGKILL) and looked for in
    `GET /v1/workers` until its replacement has confirmed the table; that time includes the start of a process.
    Last, on the node with the rules and at full load, {options["changes"]} creations and removals a second for
    {options["seconds"]} s, each begun when it was due, its latency counted from then; the share kept is the relay's
    rate until the last answer, by that before the first. A run is void when a rule is refused, or mail was not
    accepted, received, logged and accounted for to the last message."""


def _lines(run: Run) -> list[str]:
    created, changes = run["created"], run["changes"]
    lines = [
        f"- {created['rules']:,} rules created at {created['created_per_second']:,}/s, confirmed everywhere "
        f"{created['confirmed_after_s']} s after the last, swept after {created['swept_after_s']} s"
    ]
    for number, (leg, ratio) in enumerate(zip(run["legs"], run["ratios"], strict=True), 1):
        lines.append(
            f"- pair {number}: {leg['without']['rate']:,} messages/s without, {leg['with']['rate']:,} with: {ratio}; "
            f"ready after {leg['without']['ready_after_s']} and {leg['with']['ready_after_s']} s; a killed worker "
            f"replaced after {leg['without']['replaced_after_s']} and {leg['with']['replaced_after_s']} s"
        )
    return [
        *lines,
        f"- {changes['changes']:,} changes: {changes['effective']:,} effective at their answer, "
        f"{changes['accepted_only']:,} answered 202, {changes['failed']:,} failed; all answered after "
        f"{changes['all_answered_after_s']} s",
        f"- change to answer, ms: {shown(changes['latency_ms'])}",
        f"- relay beside the changes: {changes['relay_before']:,}/s before, {changes['relay_during']:,}/s during: "
        f"{changes['relay_kept']} kept",
        "",
        "CPU and memory of the last leg with the rules:",
        *process_table(run["processes"], run["messages"], "messages"),
    ]


SCENARIO = Scenario(
    name="rules",
    about="Many active rules: their cost to the relay, to a restart, and 100 changes a second of them under full load.",
    takes="10 minutes",
    repeat=1,
    options=_options,
    load=lambda given: load_of(given, given.messages),
    run=_run,
    figures=_FIGURES,
    conditions=_conditions,
    lines=_lines,
)
