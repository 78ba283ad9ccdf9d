"""The scenario `sweep`: how fast an order ends queued deliveries, what they cost in memory, and whom it hurts."""

import argparse
import contextlib
import subprocess
import time
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from bench.command import positive
from bench.flow import Flow, Load, calibrate, result_of, start_source
from bench.log_tail import LogTail
from bench.machine import sync_latency
from bench.plan import WAITING, WAITING_HALF, WAITING_POOLS
from bench.processes import Node, RunVoid, Sink
from bench.progress import Say
from bench.report import process_table
from bench.rig import directory, running
from bench.scenario import Figure, Run, Scenario, calibration_options, load_of, load_options
from bench.usage import reset_peaks, server_memory, server_version, spent, usage

_CASES = ("all", "half", "beside")
_POLL = 0.1
_TELL_EVERY = 2.0
_STUCK_AFTER = 60.0  # seconds without progress
_JOURNAL_WITHIN = 120.0
# Sessions of the paced relay, times those of the calibration: each waits for its replies, which come later beside a
# sweep, and too few sessions would keep less of the rate than the node does.
_SESSIONS = 4


class Mass(NamedTuple):
    """The deliveries that wait in the queues."""

    deliveries: int
    recipients: int
    size: int
    domains: int

    @property
    def messages(self) -> int:
        return -(-self.deliveries // self.recipients)

    def matching(self, case: str) -> int:
        """How many the order matches, once as many messages as this are there."""
        return (-(-self.messages // 2) if case == "half" else self.messages) * self.recipients


class Beside(NamedTuple):
    """The relay beside a sweep: messages a second, and the seconds that are measured without it."""

    maximum: float
    rate: float
    window: int


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--messages", type=positive, default=1_000_000, help="deliveries that wait in the queues")
    parser.add_argument("--recipients", type=positive, default=100, help="deliveries of one such message")
    parser.add_argument("--waiting-size", type=positive, default=512, help="bytes of one such message")
    parser.add_argument("--waiting-domains", type=positive, default=20, help="their domains, in each of three pools")
    parser.add_argument(
        "--case",
        action="append",
        choices=_CASES,
        help="all: the order matches all that waits, on an idle node; half: every second message; beside: all, while "
        "the node relays other mail (may be given again; all three unless given)",
    )
    parser.add_argument("--window", type=positive, default=10, help="seconds of relay before the order (case beside)")
    parser.add_argument(
        "--order", action="append", default=[], metavar="KEY=JSON", help="a field of the order, as undo=false"
    )
    calibration_options(parser)
    load_options(parser)


def _run(load: Load, given: argparse.Namespace, root: Path, say: Say) -> Run:
    mass = Mass(given.messages, given.recipients, given.waiting_size, given.waiting_domains)
    order = dict(order_field(text) for text in given.order)
    cases: dict[str, Any] = {}
    with directory(root) as place:
        disk = sync_latency(place)
        for case in given.case or _CASES:
            say(f"case {case}: {mass.messages * mass.recipients:,} deliveries, {mass.matching(case):,} to be ended")
            with running(place, load, say, data=case) as (node, sink):
                if case == "beside":
                    maximum = calibrate(node, sink, load, place, say)["rate"]
                    pace = Beside(maximum, maximum * given.share, given.window)
                    memory = _fill(node, load, mass, place, say)
                    found = _beside(node, sink, load, mass, order, place, say, pace)
                else:
                    memory = _fill(node, load, mass, place, say)
                    found = _idle(node, mass, case, order, say)
                server = server_version(node.family())
            cases[case] = found | memory
    return {"cases": cases, "server": server, "fdatasync_ms": disk}


def order_field(text: str) -> tuple[str, Any]:
    """`undo=false` as the field of an order."""
    name, _, value = text.partition("=")
    return name, msgspec.json.decode(value)


def _fill(node: Node, load: Load, mass: Mass, logs: Path, say: Say) -> dict[str, Any]:
    """Queues the mass; how fast, and what each delivery costs the server once the journal has taken the events."""
    deliveries = mass.messages * mass.recipients
    before = server_memory(node.redis)["used_memory"]
    log = LogTail(node.log, "Reception")
    waiting = msgspec.structs.replace(load, messages=mass.messages, size=mass.size, domains=mass.domains)
    start = time.monotonic()
    source = start_source(waiting, node.smtp, logs, "--waiting", str(mass.recipients))
    try:
        while source.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                source.wait(_TELL_EVERY)
            say(f"{node.get(f'/v1/tags/{WAITING}')['accepted']:,} of {deliveries:,} deliveries queued")
        result_of(source)
    finally:
        if source.poll() is None:
            source.kill()
            source.wait()
    seconds = time.monotonic() - start
    statement = node.get(f"/v1/tags/{WAITING}")
    if (statement["accepted"], statement["queued"], statement["balanced"]) != (deliveries, deliveries, True):
        raise RunVoid(f"of {deliveries} deliveries the statement says {statement}")
    log.until(deliveries, _JOURNAL_WITHIN, say)
    used = server_memory(node.redis)["used_memory"] - before
    content = mass.messages * mass.size
    return {
        "queued": deliveries,
        "queued_per_second": round(deliveries / seconds, 1),
        "bytes_per_delivery": round((used - content) / deliveries, 1),
        "bytes_per_delivery_with_content": round(used / deliveries, 1),
    }


def _sweep(node: Node, mass: Mass, case: str, order: dict[str, Any], say: Say) -> dict[str, Any]:
    """From the order until the statement says that its sweep is done."""
    tag = WAITING_HALF if case == "half" else WAITING
    family = node.family()
    reset_peaks(family)
    before = usage(family)
    start = time.monotonic()
    status, rule = node.call("POST", "/v1/errors", {"code": 554, "extended": "5.7.1", "tag": tag, **order})
    answered = time.monotonic() - start
    if status not in (201, 202):
        raise RunVoid(f"the order was answered with {status} {rule}")
    sweep = _follow(node, rule["id"], say)
    seconds = time.monotonic() - start
    ended = mass.matching(case)
    say(f"{ended:,} ended in {seconds:.2f} s: {ended / seconds:,.0f}/s")
    return {
        "rule": rule["id"],
        "matched": ended,
        "answer_status": status,
        "answer_ms": round(answered * 1000, 1),
        "seconds": round(seconds, 3),
        "ended_per_second": round(ended / seconds, 1),
        "looked_at_per_second": round(mass.messages * mass.recipients / seconds, 1),
        "seen": sweep["seen"],
        "processes": spent(before, usage(family)),
    }


def _idle(node: Node, mass: Mass, case: str, order: dict[str, Any], say: Say) -> dict[str, Any]:
    """The sweep on a node that does nothing else."""
    log = LogTail(node.log, "Intercepted")
    found = _sweep(node, mass, case, order, say)
    return found | _books(node, found, log, mass, say)


def _beside(
    node: Node, sink: Sink, load: Load, mass: Mass, order: dict[str, Any], logs: Path, say: Say, pace: Beside
) -> dict[str, Any]:
    """The sweep beside a steady relay: its own figures, and what the relay kept of its rate."""
    say(f"relay at {pace.rate:,.0f} messages/s for {pace.window} s before the order")
    log = LogTail(node.log, "Intercepted")
    paced = msgspec.structs.replace(load, sessions=load.sessions * _SESSIONS)
    with Flow(node, sink, paced, logs, say, rate=pace.rate, endless=True) as flow:
        flow.settle()
        before = flow.window(pace.window)
        start = flow.mark()
        found = _sweep(node, mass, "beside", order, say)
        during = start.rate_until(flow.mark())
        found |= _books(node, found, log, mass, say)
        relayed = flow.end()
    return found | {
        "relay_maximum": pace.maximum,
        "relay_asked": round(pace.rate, 1),
        "relay_before": before,
        "relay_during": during,
        "relay_kept": round(during / before, 3),
        "relay_handover_to_receipt_ms": relayed["handover_to_receipt_ms"],
    }


def _books(node: Node, found: dict[str, Any], log: LogTail, mass: Mass, say: Say) -> dict[str, Any]:
    """Statements and delivery log agree with the sweep. Raises RunVoid."""
    _check(node, found["rule"], mass, found["matched"])
    caught_up = log.until(found["matched"], _JOURNAL_WITHIN, say)
    say(f"delivery log complete {caught_up:.1f} s after the sweep")
    memory = server_memory(node.redis)
    return {
        "journal_caught_up_s": caught_up,
        "server_mib_after": round(memory["used_memory"] / 2**20, 1),
        "server_peak_mib": round(memory["used_memory_peak"] / 2**20, 1),
    }


def _follow(node: Node, rule: str, say: Say) -> dict[str, Any]:
    """The sweep of the rule's statement, once it is done. Raises RunVoid when it stands still."""
    told = moved = time.monotonic()
    last = -1
    while True:
        sweep: dict[str, Any] = node.get(f"/v1/errors/{rule}/statement").get("sweep") or {}
        if sweep.get("state") == "done":
            return sweep
        now = time.monotonic()
        if sweep.get("seen", 0) != last:
            last, moved = sweep.get("seen", 0), now
        if now - moved > _STUCK_AFTER:
            raise RunVoid(f"the sweep has not moved for {_STUCK_AFTER:.0f} s: {sweep}")
        if now - told > _TELL_EVERY:
            told = now
            say(f"sweep {sweep.get('state')}: {sweep.get('seen', 0):,} seen, {sweep.get('matched', 0):,} matched")
        time.sleep(_POLL)


def _check(node: Node, rule: str, mass: Mass, expected: int) -> None:
    """The statement of the rule and that of the tag say the same as what was queued."""
    deliveries = mass.messages * mass.recipients
    of_rule, of_tag = node.get(f"/v1/errors/{rule}/statement"), node.get(f"/v1/tags/{WAITING}")
    checks = (
        ("the rule's intercepted", of_rule["intercepted"]["queued"], expected),
        ("the rule's matched", of_rule["matched"], expected),
        ("the rule's balanced", of_rule["balanced"], True),
        ("the tag's accepted", of_tag["accepted"], deliveries),
        ("the tag's intercepted", of_tag["intercepted"]["queued"], expected),
        ("the tag's queued", of_tag["queued"], deliveries - expected),
        ("the tag's balanced", of_tag["balanced"], True),
    )
    wrong = [f"{what} is {found}, not {wanted}" for what, found, wanted in checks if found != wanted]
    if wrong:
        raise RunVoid(f"after the sweep {'; '.join(wrong)}")


def _figure(label: str, case: str, name: str) -> Figure:
    return Figure(label, lambda run: run["cases"].get(case, {}).get(name))


_FIGURES = {
    "all_rate": _figure("idle node, all match: deliveries ended/s, order to done", "all", "ended_per_second"),
    "all_seconds": _figure("the same, s from order to done", "all", "seconds"),
    "half_looked": _figure("idle node, half match: deliveries looked at/s", "half", "looked_at_per_second"),
    "half_rate": _figure("the same, deliveries ended/s", "half", "ended_per_second"),
    "half_seconds": _figure("the same, s from order to done", "half", "seconds"),
    "beside_rate": _figure("beside other mail, all match: deliveries ended/s", "beside", "ended_per_second"),
    "beside_seconds": _figure("the same, s from order to done", "beside", "seconds"),
    "kept": _figure("share of its rate that the other mail kept", "beside", "relay_kept"),
    "journal": _figure("delivery log complete after the sweep (all), s", "all", "journal_caught_up_s"),
    "bytes": _figure("Redis bytes per queued delivery, content apart", "all", "bytes_per_delivery"),
    "filled": _figure("deliveries queued/s over SMTP", "all", "queued_per_second"),
}


def _conditions(load: dict[str, Any], options: dict[str, Any]) -> str:
    return f"""
    {options["messages"]:,} deliveries, {options["recipients"]} to a message of {options["waiting_size"]} bytes,
    scheduled a week ahead, in {WAITING_POOLS} pools and {options["waiting_domains"]} domains, injected over SMTP;
    then one forced error 554 by tag. Time runs from the sending of the order until the statement says that the sweep
    is done (asked every {_POLL} s). Each case has a node and a directory of its own. Beside other mail: the relay of
    messages of {load["size"]:,} bytes at {options["share"]:.0%} of the rate that {load["messages"]:,} messages
    reached on the same node before; it has {load["sessions"] * _SESSIONS} sessions, {_SESSIONS} times as many as then,
    so that its rate paces it and not the time that a reply takes. The share kept is its rate from the order until the
    sweep was done, by that of the {options["window"]} s before. Bytes per delivery: `used_memory` before and after the
    injection, once the journal had taken the events, less the content as sent. A run is void when statement and queue
    disagree, when the delivery log is not complete within {_JOURNAL_WITHIN:.0f} s of the sweep, or when the mail
    beside it was not accepted, received, logged and accounted for to the last message. Fields of the order beside code
    and tag:
    {", ".join(options["order"]) or "none"}."""


def _lines(run: Run) -> list[str]:
    lines = ["CPU and peak memory of the processes are those from the order until its sweep was done."]
    for case, of in run["cases"].items():
        lines += [
            "",
            f"- {case}: {of['matched']:,} of {of['queued']:,} ended in {of['seconds']} s, "
            f"{of['ended_per_second']:,}/s ({of['looked_at_per_second']:,} looked at/s); order answered "
            f"{of['answer_status']} after {of['answer_ms']} ms; delivery log complete "
            f"{of['journal_caught_up_s']} s after the sweep",
            f"- {case}: {of['bytes_per_delivery']} bytes per queued delivery ({of['bytes_per_delivery_with_content']} "
            f"with content), queued at {of['queued_per_second']:,}/s; server {of['server_mib_after']} MiB after the "
            f"sweep, {of['server_peak_mib']} at most",
        ]
        if "relay_kept" in of:
            lines.append(
                f"- {case}: relay asked for {of['relay_asked']:,}/s of {of['relay_maximum']:,}/s at most; "
                f"{of['relay_before']:,}/s before, {of['relay_during']:,}/s during: {of['relay_kept']} kept"
            )
        lines += process_table(of["processes"], of["matched"], "deliveries ended")
    return lines


SCENARIO = Scenario(
    name="sweep",
    about="The sweep: queued deliveries that an order ends, idle and beside other mail; memory per delivery.",
    takes="15 minutes",
    repeat=1,
    options=_options,
    load=lambda given: load_of(given, given.calibrate),
    run=_run,
    figures=_FIGURES,
    conditions=_conditions,
    lines=_lines,
)
