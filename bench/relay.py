"""The scenario `relay`: how many messages a second go in over SMTP and out over SMTP, and what that costs."""

import argparse
from pathlib import Path
from typing import Any

from bench.command import positive
from bench.flow import Flow, Load, hop_of, result_of, start_source
from bench.machine import sync_latency
from bench.processes import Sink
from bench.progress import Say
from bench.ranks import shown
from bench.report import process_table
from bench.rig import directory, running, stopping
from bench.scenario import Figure, Run, Scenario, load_of, load_options


def direct_hop(load: Load, logs: Path) -> dict[str, Any]:
    """Source to sink with nothing between: the ceiling of this machine for this load."""
    with stopping(Sink(logs / "sink.log")) as sink:
        return hop_of(result_of(start_source(load, sink.address, logs)), sink.account())


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--messages", type=positive, default=50_000, help="messages of a run")
    load_options(parser)


def _run(load: Load, given: argparse.Namespace, root: Path, say: Say) -> Run:
    """The direct hop and the node, each over the same load."""
    with directory(root) as place:
        disk = sync_latency(place)
        say(f"disk: fdatasync of 4 KiB {disk['p50']} ms median, {disk['p99']} ms p99")
        direct = direct_hop(load, place)
        say(f"direct hop: {direct['rate']:,.0f} messages/s")
        with running(place, load, say) as (node, sink), Flow(node, sink, load, place, say) as flow:
            result = flow.end()
    return result | {"direct": direct, "of_direct": round(result["rate"] / direct["rate"], 3), "fdatasync_ms": disk}


def _cpu(run: Run) -> float:
    used = [use["cpu_seconds"] for role, use in run["processes"].items() if role not in ("source", "sink")]
    return float(sum(used) / run["messages"] * 1e6)


_FIGURES = {
    "rate": Figure("end to end, messages/s (first MAIL to last receipt)", lambda run: run["rate"]),
    "intake_rate": Figure("intake, messages/s (first MAIL to last 250)", lambda run: run["intake_rate"]),
    "direct": Figure("direct hop, messages/s (source to sink, nothing between)", lambda run: run["direct"]["rate"]),
    "of_direct": Figure("end to end as a share of the direct hop", lambda run: run["of_direct"]),
    "journal_caught_up_s": Figure(
        "delivery log complete after the last receipt, s", lambda run: run["journal_caught_up_s"]
    ),
    "cpu_us_per_message": Figure("CPU of Floodgate and its server, us per message", _cpu),
}


def _conditions(load: dict[str, Any], options: dict[str, Any]) -> str:
    return f"""
    {load["messages"]:,} messages of {load["size"]:,} bytes with two tags, to {load["domains"]} domains, from
    {load["sessions"]} SMTP sessions in a closed loop with pipelining; source, sink, server and Floodgate
    ({load["workers"]} workers, all features on, embedded server with `appendfsync always`) share the machine. A run
    counts when the source had every message accepted, the sink had each, the delivery log had one Delivery line per
    delivery within 5 s of the last receipt, the statement of the tag equalled the receipts, and the node ended with
    status 0 after SIGTERM."""


def _lines(run: Run) -> list[str]:
    return [
        f"- {run['rate']:,} messages/s in {run['seconds']} s; direct hop {run['direct']['rate']:,}",
        f"- end of data to 250, ms: {shown(run['dot_to_reply_ms'])}",
        f"- hand-over to receipt, ms: {shown(run['handover_to_receipt_ms'])}",
        f"- received per second: {', '.join(str(count) for count in run['received_per_second'])}",
        (
            f"- duplicates {run['duplicates']}, deferred at intake {run['deferred_at_intake']}, "
            f"connections to the sink {run['connections']}"
        ),
        *process_table(run["processes"], run["messages"], "message"),
    ]


SCENARIO = Scenario(
    name="relay",
    about="The relay rate of one node: messages in and out over SMTP.",
    repeat=3,
    options=_options,
    load=lambda given: load_of(given, given.messages),
    run=_run,
    figures=_FIGURES,
    conditions=_conditions,
    lines=_lines,
)
