"""The page of the command `relay`: one table of all scenarios, then each with its figures, its plot and its runs."""

from collections.abc import Mapping, Sequence
from typing import Any

from bench.ranks import shown
from bench.report import SYNC, figure_table, heading, machine_lines, spread
from bench.scenario import Figure, Run

_LOAD = ("source", "sink")


def _cpu(run: Run) -> float:
    """Floodgate's and its server's, by messages."""
    used = sum(use["cpu_seconds"] for role, use in run["processes"].items() if role not in _LOAD)
    return float(used / run["messages"] * 1000)


def _latency(name: str, rank: str) -> Any:
    return lambda run: run.get(name, {}).get(rank)


def _of_cancel(name: str) -> Any:
    return lambda run: run.get("cancel", {}).get(name)


def _bytes(run: Run) -> float | None:
    return run.get("bytes_per_delivery")


FIGURES: dict[str, Figure] = {
    "rate": Figure("end to end, messages/s", lambda run: run["rate"]),
    "deliveries_rate": Figure(
        "end to end, deliveries/s", lambda run: run["rate"] * run["recipients"] if run["recipients"] > 1 else None
    ),
    "intake_rate": Figure("intake, messages/s (first MAIL to last 250)", lambda run: run["intake_rate"]),
    "direct": Figure("direct hop, messages/s (source to sink, nothing between)", lambda run: run["direct"]["rate"]),
    "of_direct": Figure("end to end as a share of the direct hop", lambda run: run["of_direct"]),
    "maximum": Figure("maximum rate, measured before, messages/s", lambda run: run.get("maximum")),
    "asked_rate": Figure("rate asked for, messages/s", lambda run: run.get("asked_rate")),
    **{
        f"dot_to_reply_{rank}": Figure(f"end of data to 250, {rank}, ms", _latency("dot_to_reply_ms", rank))
        for rank in ("p50", "p99", "p99.9")
    },
    **{
        f"accepted_to_delivered_{rank}": Figure(
            f"accepted to delivered, {rank}, ms", _latency("accepted_to_delivered_ms", rank)
        )
        for rank in ("p50", "p99", "p99.9")
    },
    "cpu_s_per_1000": Figure("CPU of Floodgate and its server, s per 1,000 messages", _cpu),
    "bytes_per_delivery": Figure("Redis bytes per queued delivery, content apart", _bytes),
    "cancel_effective": Figure("order to effective, ms", _of_cancel("effective_ms")),
    "cancel_past_dot": Figure("deliveries past their dot at the order", _of_cancel("past_dot")),
    "cancel_unlisted": Figure(
        "receipts after it was effective that it does not list", _of_cancel("received_after_unlisted")
    ),
    "intercepted": Figure("deliveries intercepted", lambda run: run["intercepted"] or None),
    "delivered": Figure("deliveries delivered, where others were not", _of_cancel("delivered")),
    "journal_caught_up_s": Figure(
        "delivery log complete after the last end, s", lambda run: run["journal_caught_up_s"]
    ),
    "fdatasync": SYNC,
}
_COLUMNS = (
    ("messages/s", "rate"),
    ("intake/s", "intake_rate"),
    ("of direct", "of_direct"),
    ("dot to 250 p50 / p99, ms", ("dot_to_reply_p50", "dot_to_reply_p99")),
    ("accepted to delivered p50 / p99, ms", ("accepted_to_delivered_p50", "accepted_to_delivered_p99")),
    ("CPU s per 1,000", "cpu_s_per_1000"),
)
_HOW = """
Source, sink, server and Floodgate (all features on, embedded server with `appendfsync always`) share the machine.
Messages have two tags and go from SMTP sessions in a closed loop with pipelining, unless a pace is told. End to end
is from the first MAIL of the source to the last receipt of the sink, in a backlog from the instant at which all was
due. Accepted to delivered is from the source's reading of the 250 to the sink's receipt, joined by message; it is
below zero where the receipt came first. A run counts when the source had every message accepted, each delivery was
received (of a cancel: received or intercepted, and what was received after it was effective is listed in `past_dot`),
the delivery log had one line for each within 5 s (and the destination's own delays) of the last end, the statement
of the tag equalled the receipts, and the node ended with status 0 after SIGTERM. Scenarios took turns; a ratio is
of two runs of the same repetition. Plots show the run with the median rate."""


def page(result: dict[str, Any], pictures: Mapping[str, str]) -> str:
    """`pictures`: names of the plots' files, by scenario."""
    lines = [*heading(result), "", *table(result)]
    for each in result["scenarios"]:
        lines += ["", f"## {each['name']}", "", each["about"], "", _load_line(each["file"])]
        if each["summary"]:
            lines += ["", *figure_table(each["summary"], FIGURES), "", *_process_table(each["processes"])]
        if each["name"] in pictures:
            lines += ["", f"![{each['name']} over time]({pictures[each['name']]})"]
        for number, run in enumerate(each["runs"], 1):
            lines += ["", f"### {each['name']}, run {number}", "", *_run_lines(run)]
        for reason in each["void"]:
            lines += ["", f"Void: {reason}"]
    server = next((run["server"] for each in result["scenarios"] for run in each["runs"]), "")
    lines += ["", "## How it was measured", "", " ".join(_HOW.split()), "", *machine_lines(result | {"server": server})]
    return "\n".join(lines) + "\n"


def processes_of(runs: Sequence[Run]) -> dict[str, dict[str, Any]]:
    """The use of each process over the runs: CPU s per 1,000 messages with its spread, and the highest peak in MiB."""
    roles = dict.fromkeys(role for run in runs for role in run["processes"])
    return {
        role: {
            "cpu_s_per_1000": spread([use["cpu_seconds"] / messages * 1000 for use, messages in used]),
            "peak_rss_mib": max(use["peak_rss_mib"] for use, _ in used),
        }
        for role in roles
        if (used := [(run["processes"][role], run["messages"]) for run in runs if role in run["processes"]])
    }


def _process_table(processes: Mapping[str, Mapping[str, Any]]) -> list[str]:
    lines = ["| process | CPU s per 1,000 messages, median | least | most | peak MiB |", "|---|---|---|---|---|"]
    for role, use in processes.items():
        cpu = use["cpu_s_per_1000"]
        lines.append(f"| {role} | {cpu['median']} | {cpu['least']} | {cpu['most']} | {use['peak_rss_mib']} |")
    return lines


def table(result: dict[str, Any]) -> list[str]:
    """One row for each scenario: medians."""
    several = len(result["scenarios"]) > 1
    titles = ["scenario", *(title for title, _ in _COLUMNS), *(["by the first"] if several else []), "runs (void)"]
    lines = [f"| {' | '.join(titles)} |", f"|{'---|' * len(titles)}"]
    for each in result["scenarios"]:
        cells = [each["name"]]
        for _, names in _COLUMNS:
            found = [_median(each["summary"], name) for name in ([names] if isinstance(names, str) else names)]
            cells.append(" / ".join(found))
        if several:
            ratio = each["to_first"]
            cells.append(f"{ratio['median']} ({ratio['least']} to {ratio['most']})" if ratio else "1")
        cells.append(f"{len(each['runs']) + len(each['void'])} ({len(each['void'])})")
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _median(summary: Mapping[str, Mapping[str, float]], name: str) -> str:
    return f"{summary[name]['median']:,}" if name in summary else "-"


def _load_line(file: dict[str, Any]) -> str:
    """The load of the scenario file, with the changes of the command line."""
    load, to, node, shape = file["load"], file["destination"], file["node"], file["shape"]
    sizes = ", ".join(f"{share:.0%} of {size:,} bytes" for size, share in load["sizes"])
    each = "one recipient" if load["recipients"] == 1 else f"{load['recipients']} recipients"
    words = [
        f"{load['messages']:,} messages ({sizes}) with {each} to {load['domains']:,} domains",
        f"{load['sessions']} sessions{', a connection for each message' if load['reconnect'] else ''}",
        f"{node['workers']} workers",
        f"{load['rate']:g} messages/s asked for" if load["rate"] else "",
        f"replies after {to['delay_ms']:g} ms" if to["delay_ms"] else "",
        f"{to['defer']:g} % deferred" if to["defer"] else "",
        f"{to['stall']:g} % stalled by {to['stall_seconds']:g} s" if to["stall"] else "",
        "STARTTLS" if to["tls"] else "",
        f"{shape['rules']:,} rules" if shape["rules"] else "",
        f"settings beside the defaults: {', '.join(f'`{text}`' for text in node['settings']) or 'none'}",
    ]
    return f"{'; '.join(filter(None, words))}."


def _run_lines(run: Run) -> list[str]:
    lines = [
        f"- {run['rate']:,} messages/s in {run['seconds']} s; direct hop {run['direct']['rate']:,}",
        f"- end of data to 250, ms: {shown(run['dot_to_reply_ms'])}",
    ]
    if "accepted_to_delivered_ms" in run:
        lines.append(f"- accepted to delivered, ms: {shown(run['accepted_to_delivered_ms'])}")
    if "handover_to_receipt_ms" in run:
        lines.append(f"- hand-over to receipt, ms: {shown(run['handover_to_receipt_ms'])}")
    if "maximum" in run:
        lines.append(f"- {run['asked_rate']:,} messages/s asked for, of {run['maximum']:,} at most just before")
    if "bytes_per_delivery" in run:
        lines.append(
            f"- queued: {run['bytes_per_delivery']:,} bytes per delivery ({run['bytes_per_delivery_with_content']:,} "
            f"with content); all due {run['due_after_s']} s after the first MAIL"
        )
    if "created" in run:
        made = run["created"]
        lines.append(f"- {made['rules']:,} rules created at {made['created_per_second']:,}/s before")
    if "cancel" in run:
        of = run["cancel"]
        stages = ", ".join(f"{count:,} {stage}" for stage, count in of["intercepted"].items())
        lines.append(
            f"- canceled: effective after {of['effective_ms']} ms, answered after {of['answer_ms']} ms; "
            f"{of['delivered']:,} delivered, {run['intercepted']:,} intercepted ({stages}); {of['past_dot']} past "
            f"their dot, {of['received_after']} received after, {of['received_after_unlisted']} of them not listed"
        )
    return [
        *lines,
        (
            f"- duplicates {run['duplicates']}, deferred at intake {run['deferred_at_intake']}, "
            f"connections to the sink {run['connections']}"
        ),
    ]
