"""The page of the command `scale`: a table and two plots for each curve."""

import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench import plots
from bench.report import heading, machine_lines
from bench.scale_point import RECIPIENTS, WAITING_SIZE, Point

_LOAD = ("source", "sink")
_HEAD = (
    "{x}",
    "messages/s (spread)",
    "by the first",
    "intake/s",
    "dot to 250, ms p50 / p99",
    "hand-over to receipt, ms p50 / p99",
    "worker us",
    "server us",
    "journal us",
    "other us",
    "peak MiB worker / server process",
    "server memory MiB",
)


def median(point: dict[str, Any], of: Callable[[Point], float | None]) -> float:
    """Of the runs of a point that have the figure; 0.0 where none has it."""
    values = [value for value in map(of, point["runs"]) if value is not None]
    return float(statistics.median(values)) if values else 0.0


def rate(run: Point) -> float:
    return float(run["rate"])


def cpu(role: str) -> Callable[[Point], float]:
    """Microseconds of CPU per message of all processes of the role."""
    return lambda run: float(run["cpu_us"].get(role, 0.0))


def cpu_of_others(run: Point) -> float:
    """The same of supervisor, API and sweeper: what is neither load, worker, server nor journal."""
    return float(sum(us for role, us in run["cpu_us"].items() if role not in (*_LOAD, "worker", "valkey", "journal")))


def as_page(result: dict[str, Any]) -> str:
    load, disk = result["load"], result["fdatasync_ms"]
    settings = ", ".join(f"`{setting}`" for setting in result["settings"]) or "none"
    lines = [
        *heading(result),
        "",
        f"{load['messages']:,} messages of {load['size']:,} bytes at each point unless its curve says more, to "
        f"{load['domains']} domains from {load['sessions']} sessions in a closed loop, after a tenth as many "
        f"unmeasured; {load['repeat']} rounds over the points of a curve; figures are medians of the rounds. CPU is in "
        f"microseconds per message over all processes of a kind; source, sink, nodes and servers share the machine, so "
        f"more processes than cores raise no rate here: bench/SCALING.md computes from the costs. A point is void "
        f"unless mail was accepted, received, logged and accounted for to the last message.",
        "",
        f"fdatasync of 4 KiB: {disk['p50']} ms median, {disk['p99']} ms p99. Settings beside the defaults: {settings}.",
        "",
        *machine_lines(result),
    ]
    for name, curve in result["curves"].items():
        lines += ["", f"## {name}: {curve['title']}", "", *_table(curve), *_more(curve)]
        lines += [f"- Void: {reason}" for reason in curve["void"]]
    return "\n".join(lines) + "\n"


def plots_of(result: dict[str, Any], stem: Path) -> list[Path]:
    """Draws them beside the page; those that could be drawn."""
    drawn = []
    for name, curve in result["curves"].items():
        points = [(float(point["x"]), point) for point in curve["points"]]
        if len(points) < 2:
            continue
        rates = {what: [(x, median(point, _field(what))) for x, point in points] for what in ("rate", "intake_rate")}
        costs = {
            role: [(x, median(point, cpu(role))) for x, point in points] for role in ("worker", "valkey", "journal")
        }
        x_label = curve["x_label"]
        for what, series, y_label in (("rate", rates, "messages/s"), ("cpu", costs, "us of CPU per message")):
            path = stem.with_name(f"{stem.name}-{name}-{what}.png")
            if plots.curve(path, curve["title"], x_label, series, y_label, log_x=curve["log_x"]):
                drawn.append(path)
    return drawn


def _field(name: str) -> Callable[[Point], float]:
    return lambda run: float(run[name])


def _rank(name: str, rank: str) -> Callable[[Point], float | None]:
    return lambda run: run[name].get(rank)


def _table(curve: dict[str, Any]) -> list[str]:
    lines = [f"| {' | '.join(_HEAD).format(x=curve['x_label'])} |", "|---" * len(_HEAD) + "|"]
    first = median(curve["points"][0], rate) if curve["points"] else 0.0
    for point in curve["points"]:
        rates = [rate(run) for run in point["runs"]]
        reply, receipt = "dot_to_reply_ms", "handover_to_receipt_ms"
        cells = [
            f"{point['x']:,.0f}",
            f"{statistics.median(rates):,.0f} ({min(rates):,.0f} to {max(rates):,.0f})",
            f"{median(point, rate) / first:.3f}",
            f"{median(point, _field('intake_rate')):,.0f}",
            f"{median(point, _rank(reply, 'p50')):.1f} / {median(point, _rank(reply, 'p99')):.1f}",
            f"{median(point, _rank(receipt, 'p50')):,.0f} / {median(point, _rank(receipt, 'p99')):,.0f}",
            *(f"{median(point, cpu(role)):.0f}" for role in ("worker", "valkey", "journal")),
            f"{median(point, cpu_of_others):.0f}",
            f"{_peak(point, 'worker'):.0f} / {_peak(point, 'valkey'):.0f}",
            f"{median(point, _field('server_mib')):,.1f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _peak(point: dict[str, Any], role: str) -> float:
    return median(point, lambda run: run["peak_mib"].get(role))


def _more(curve: dict[str, Any]) -> list[str]:
    """The figures that only some curves have, a line for each point."""
    lines = [""]
    for point in curve["points"]:
        run = point["runs"][-1]
        at = f"- {point['x']:,.0f}:"
        if len(run["masters"]) > 1:
            lines.append(
                f"{at} lanes by master: {', '.join(str(lanes) for lanes in run['lanes'])}; calls per message: "
                f"{', '.join(str(one['calls']) for one in run['masters'])}"
            )
        if "orders" in run:
            effective = run["orders"]["effective_ms"]
            lines.append(
                f"{at} order to effective on the idle fleet, ms: p50 {effective.get('p50')}, p99 {effective.get('p99')}"
            )
        if "proof" in run:
            proof = run["proof"]
            lines.append(
                f"{at} {proof['held']} deliveries held by a pause and released, {proof['intercepted']} ended by one "
                f"order, {proof['canceled']} canceled one by one; statements and delivery logs agreed"
            )
        if "rules" in run:
            made = run["rules"]
            lines.append(
                f"{at} created over REST at {made['created_per_second']:,}/s; a node with them is ready after "
                f"{median(point, _field('ready_after_s')):.2f} s, its workers start with "
                f"{median(point, _field('worker_mib_at_start')):.1f} MiB"
            )
        lines += [f"{at} a node said: {text}" for text in run["complaints"]]
        if "drain" in run:
            lines.append(f"{at} {_drain(point)}")
        if "waiting" in run:
            queued = run["waiting"]
            lines.append(
                f"{at} {queued['deliveries']:,} deliveries, {RECIPIENTS} to a message of {WAITING_SIZE} bytes, taken "
                f"at {queued['accepted_per_second']:,}/s (dot to 250 p99 {queued['dot_to_reply_ms'].get('p99')} ms); "
                f"{queued['bytes_per_delivery']} bytes of server memory each, content apart; a node started on the "
                f"running server is ready after {median(point, _field('ready_after_s')):.2f} s"
            )
    return lines


def _drain(point: dict[str, Any]) -> str:
    runs = {"runs": [run["drain"] for run in point["runs"]]}
    first = runs["runs"][-1]
    return (
        f"{first['messages']:,} messages queued first, all due at one instant: drained at {median(runs, rate):,.0f} "
        f"messages/s over {first['connections']:,} connections, worker {median(runs, cpu('worker')):.0f} us, server "
        f"{median(runs, cpu('valkey')):.0f} us, journal {median(runs, cpu('journal')):.0f} us; a worker's peak "
        f"{_peak(runs, 'worker'):.0f} MiB"
    )
