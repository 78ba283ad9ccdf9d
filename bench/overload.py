"""The scenario `overload`: a node before, under and after a load that it cannot carry."""

import argparse
import subprocess
import time
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from bench.command import positive, share
from bench.flow import Load, calibrate, result_of, start_source
from bench.log_tail import LogTail
from bench.machine import sync_latency
from bench.overload_watch import Second, Watch, peaks, recovered_after
from bench.plan import CAMPAIGN
from bench.processes import Node, RunVoid, Sink
from bench.progress import Say
from bench.ranks import shown
from bench.report import process_table
from bench.rig import directory, running
from bench.scenario import Figure, Run, Scenario, load_of, load_options
from bench.usage import server_version, spent, usage

_CASES = {"fast": (), "slow": ("--delay-ms",)}
_HAND_OVER = 1.0  # seconds that a phase's source is at work before the last one's is told to end
_SOURCE_ENDS_WITHIN = 60.0
_LAST = "after"
_CALM_WITHIN = 120.0
_DRAINED_WITHIN = 300.0
_JOURNAL_WITHIN = 10.0
_SLACK = 15.0  # seconds that a phase's source may be at work beyond its time: so many numbers are its own


class Phase(NamedTuple):
    """A source at work for some time."""

    name: str
    rate: float  # messages a second that it would send
    sessions: int
    seconds: int


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seconds", type=positive, default=15, help="of each phase: normal, overload, normal again")
    parser.add_argument("--share", type=share, default=0.5, help="of the maximum rate that is normal")
    parser.add_argument("--times", type=float, default=2.0, help="the maximum rate that is offered in the overload")
    parser.add_argument("--crowd", type=positive, default=400, help="SMTP sessions of the overload")
    parser.add_argument(
        "--calibrate", type=positive, default=20_000, metavar="N", help="messages that find the maximum"
    )
    parser.add_argument(
        "--case",
        action="append",
        choices=tuple(_CASES),
        help="fast: the destination answers at once; slow: after --delay-ms, so that what is accepted has to wait (may "
        "be given again; both unless given)",
    )
    parser.add_argument("--delay-ms", type=positive, default=250, help="of the slow destination, before it takes mail")
    load_options(parser)


def _run(load: Load, given: argparse.Namespace, root: Path, say: Say) -> Run:
    cases: dict[str, Any] = {}
    with directory(root) as place:
        disk = sync_latency(place)
        for case in given.case or tuple(_CASES):
            late = (*_CASES[case], str(given.delay_ms)) if _CASES[case] else ()
            # One client: so many sessions of it are what is measured.
            settings = [f"smtp.max_connections_per_client={given.crowd}", *load.settings]
            here = msgspec.structs.replace(load, destination=late, settings=settings)
            say(f"case {case}")
            with running(place, here, say, data=case) as (node, sink):
                maximum = calibrate(node, sink, here, place, say)["rate"]
                phases = [
                    Phase("before", maximum * given.share, load.sessions, given.seconds),
                    Phase("overload", maximum * given.times, given.crowd, given.seconds),
                    Phase(_LAST, maximum * given.share, load.sessions, given.seconds),
                ]
                cases[case] = {"maximum": maximum} | _loaded(node, sink, here, phases, place, say)
                server = server_version(node.family())
    return {"cases": cases, "server": server, "fdatasync_ms": disk}


def _loaded(node: Node, sink: Sink, load: Load, phases: list[Phase], logs: Path, say: Say) -> dict[str, Any]:
    """The phases one after the other, until all that was accepted has arrived and the books agree. Raises RunVoid."""
    sink.account()
    log = LogTail(node.logs, "Delivery")
    family = node.family()
    before, delivered = usage(family), _delivered(node)
    sent: dict[str, Any] = {}
    watch = Watch(node, sink, say)
    sources: list[tuple[Phase, subprocess.Popen[bytes]]] = []
    try:
        first = 0
        for phase in phases:
            watch.enter("")
            sources.append((phase, _start(node, load, phase, first, logs)))
            first += int(phase.rate * (phase.seconds + _SLACK))
            watch.follow(_HAND_OVER)
            if len(sources) > 1:
                sent[sources[-2][0].name] = _end(*sources[-2])
            watch.enter(phase.name)
            say(f"{phase.name}: {phase.rate:,.0f} messages/s offered by {phase.sessions} sessions")
            watch.follow(phase.seconds)
        watch.until_calm(phases[0].name, _CALM_WITHIN)
        sent[phases[-1].name] = _end(*sources[-1])
        accepted = sum(each["accepted"] for each in sent.values())
        watch.until_received(accepted, _DRAINED_WITHIN)
    finally:
        for _, source in sources:
            if source.poll() is None:
                source.kill()
                source.wait()
    seconds = watch.seconds
    _check(node, log, accepted, delivered)
    return {
        "messages": accepted,
        "duplicates": sum(second.duplicates for second in seconds),
        "phases": {phase.name: _phase(phase, sent[phase.name], seconds) for phase in phases},
        "recovered_after_s": recovered_after(seconds),
        "seconds": [second._asdict() for second in seconds],
        "peaks": peaks(seconds),
        "processes": spent(before, usage(family)),
    }


def _start(node: Node, load: Load, phase: Phase, first: int, logs: Path) -> "subprocess.Popen[bytes]":
    endless = msgspec.structs.replace(load, messages=10**8 - 1 - first, sessions=phase.sessions)
    return start_source(endless, node.smtp, logs, "--rate", str(phase.rate), "--first", str(first), "--until-told")


def _end(phase: Phase, source: "subprocess.Popen[bytes]") -> dict[str, Any]:
    """Lets a source end the messages that it has begun; its result. Raises RunVoid."""
    assert source.stdin is not None
    source.stdin.close()
    source.stdin = None
    try:
        source.wait(_SOURCE_ENDS_WITHIN)
    except subprocess.TimeoutExpired:
        raise RunVoid(f"the source of the phase {phase.name} did not end when it was told to") from None
    sent = result_of(source)
    if phase.name != _LAST and sent["messages"] > int(phase.rate * (phase.seconds + _SLACK)):
        raise RunVoid(f"the source of the phase {phase.name} ended so late that its numbers met those of the next")
    return sent


def _phase(phase: Phase, sent: dict[str, Any], seconds: list[Second]) -> dict[str, Any]:
    """The figures of a phase, by its source and by the seconds that were its alone."""
    own = [second for second in seconds if second.phase == phase.name and second.receipts]
    return {
        "offered_rate": round(phase.rate, 1),
        "accepted_rate": round(sent["rate"], 1),
        "received_rate": round(sum(second.receipts for second in own) / sum(second.lasted for second in own), 1),
        "deferred": sent["deferred"],
        "replies": sent["replies"],
        "dot_to_reply_ms": sent["dot_to_reply_ms"],
        "handover_p50_ms": round(sorted(second.p50_ms for second in own)[len(own) // 2], 1),
        "handover_p99_ms": max(second.p99_ms for second in own),
        "most_queued": max(second.queued for second in own),
        "most_backlog": max(second.backlog for second in own),
        "source_cpu_seconds": round(sent["cpu_seconds"], 2),
    }


def _delivered(node: Node) -> int:
    return int(node.get(f"/v1/tags/{CAMPAIGN}")["delivered"])


def _check(node: Node, log: LogTail, accepted: int, delivered_before: int) -> None:
    """Delivery log and statement have each message that was accepted. Raises RunVoid."""
    deadline = time.monotonic() + _JOURNAL_WITHIN
    while (counted := log.count()) != (accepted, accepted):
        if time.monotonic() > deadline:
            raise RunVoid(f"the delivery log has {counted[0]} lines for {counted[1]} deliveries, not {accepted}")
        time.sleep(0.1)
    statement = node.get(f"/v1/tags/{CAMPAIGN}")
    if statement["delivered"] - delivered_before != accepted or not statement["balanced"]:
        raise RunVoid(f"{accepted} were accepted, {delivered_before} delivered before; the statement says {statement}")


def _of_phase(label: str, case: str, phase: str, *path: str) -> Figure:
    return _of_case(label, case, "phases", phase, *path)


def _of_case(label: str, case: str, *path: str) -> Figure:
    def value(run: Run) -> float | None:
        found: Any = run["cases"].get(case)
        for name in path:
            found = found[name] if found else None
        return found  # type: ignore[no-any-return]

    return Figure(label, value)


def _figures(case: str, what: str) -> dict[str, Figure]:
    reply = ("dot_to_reply_ms", "p99")
    worst = f"{what}, overload: hand-over to receipt, worst second's p99, ms"
    return {
        f"{case}_maximum": _of_case(f"{what}: maximum rate, messages/s", case, "maximum"),
        f"{case}_offered": _of_phase(f"{what}, overload: offered, messages/s", case, "overload", "offered_rate"),
        f"{case}_accepted": _of_phase(f"{what}, overload: accepted, messages/s", case, "overload", "accepted_rate"),
        f"{case}_received": _of_phase(f"{what}, overload: delivered, messages/s", case, "overload", "received_rate"),
        f"{case}_reply_before": _of_phase(f"{what}, before: end of data to 250, p99, ms", case, "before", *reply),
        f"{case}_reply": _of_phase(f"{what}, overload: end of data to 250, p99, ms", case, "overload", *reply),
        f"{case}_reply_after": _of_phase(f"{what}, after: end of data to 250, p99, ms", case, "after", *reply),
        f"{case}_handover": _of_phase(worst, case, "overload", "handover_p99_ms"),
        f"{case}_recovered": _of_case(f"{what}: s until latency was as before", case, "recovered_after_s"),
        f"{case}_queued": _of_case(f"{what}: most deliveries in the queues", case, "peaks", "queued"),
        f"{case}_backlog": _of_case(f"{what}: most entries the journal had not taken", case, "peaks", "backlog"),
        f"{case}_worker": _of_case(f"{what}: largest worker, MiB", case, "peaks", "worker_mib"),
        f"{case}_journal": _of_case(f"{what}: journal at most, MiB", case, "peaks", "journal_mib"),
        f"{case}_server": _of_case(f"{what}: the server's data at most, MiB", case, "peaks", "server_mib"),
    }


def _conditions(load: dict[str, Any], options: dict[str, Any]) -> str:
    return f"""
    The maximum is what {load["messages"]:,} messages of {load["size"]:,} bytes reached from {load["sessions"]} sessions
    in a closed loop. Then three sources follow one another without a gap, {options["seconds"]} s each: before and after
    at {options["share"]:.0%} of the maximum, in between {options["times"]} times the maximum from {options["crowd"]}
    sessions; the last one goes on until no more is queued than before. A message that is late is sent as soon as a
    session is free, so what the node does not answer waits with its clients. Slow: the destination takes each message
    {options["delay_ms"]} ms after its dot, so that accepting is faster than delivering.
    Hand-over to receipt runs from the moment that the source sends the content, and so has the wait for the 250 and the
    wait in the queue in it; percentiles are those of each second. Memory, queue and the journal's backlog are looked at
    each second. Recovered: from the end of the overload's source until no later
    second's p99 was above twice the worst of before (or 20 ms). A run is void unless everything accepted was received,
    logged and accounted for to the last message."""


def _recovered(seconds: float | None) -> str:
    if seconds is None:
        return "Its latency was not as before when the last source ended."
    return f"Recovered {seconds} s after the overload."


def _lines(run: Run) -> list[str]:
    lines: list[str] = []
    for case, of in run["cases"].items():
        lines += [
            "",
            f"### Destination {case}: {of['messages']:,} messages, {of['duplicates']} duplicates",
            "",
            f"{_recovered(of['recovered_after_s'])} At most: "
            + ", ".join(f"{name} {value:,}" for name, value in of["peaks"].items()),
            "",
            "| phase | offered/s | accepted/s | received/s | 4xx | dot to 250, ms | hand-over p50, p99, ms | queued |",
            "|---|---|---|---|---|---|---|---|",
        ]
        for name, phase in of["phases"].items():
            lines.append(
                f"| {name} | {phase['offered_rate']:,} | {phase['accepted_rate']:,} | {phase['received_rate']:,} | "
                f"{phase['deferred']:,} | {shown(phase['dot_to_reply_ms'])} | "
                f"{phase['handover_p50_ms']:,} / {phase['handover_p99_ms']:,} | {phase['most_queued']:,} |"
            )
        lines += process_table(of["processes"], of["messages"], "message")
        lines += ["", "| s | phase | received | p50 ms | p99 ms | queued | backlog | worker MiB | server MiB |"]
        lines += ["|---|---|---|---|---|---|---|---|---|"]
        lines += [
            f"| {second['at']:.1f} | {second['phase']} | {second['receipts']:,} | {second['p50_ms']:,} | "
            f"{second['p99_ms']:,} | {second['queued']:,} | {second['backlog']:,} | {second['worker_mib']:,} | "
            f"{second['server_mib']:,} |"
            for second in of["seconds"]
        ]
    return lines


SCENARIO = Scenario(
    name="overload",
    about="Twice the load that a node can carry: what its clients see, what it needs, and how it recovers.",
    takes="5 minutes",
    repeat=1,
    options=_options,
    load=lambda given: load_of(given, given.calibrate),
    run=_run,
    figures=_figures("fast", "fast destination") | _figures("slow", "slow destination"),
    conditions=_conditions,
    lines=_lines,
)
