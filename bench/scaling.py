"""The command `scaling`: bench/SCALING.md, computed anew from the newest results of `scale`."""

import argparse
import json
from pathlib import Path
from typing import Any, NamedTuple

from bench.command import COMMITTED, ROOT, Command
from bench.progress import say
from bench.scale_page import cpu, cpu_of_others, median, rate
from bench.servers import placed

_CORES = 16
_NODES = 10
_NETWORK = 1.25e9  # bytes/s of 10 Gbit/s, each way
_PAGE = ROOT / "bench" / "SCALING.md"


class Limit(NamedTuple):
    """The computed capacity of one part, with its formula."""

    what: str
    formula: str
    rate: float  # messages/s


class Costs(NamedTuple):
    """Of one message on the main load, in microseconds of CPU and bytes."""

    worker: float
    server: float  # of its one thread; over all masters
    loop: float  # that this thread was busy or waited for the disk
    cycles: float
    calls: float
    journal: float
    others: float
    net_in: float  # into the servers
    net_out: float
    aof: float
    size: float

    @classmethod
    def of(cls, point: dict[str, Any], size: float) -> "Costs":
        def of_masters(name: str) -> float:
            return median(point, lambda run: sum(one[name] for one in run["masters"]))

        return cls(
            median(point, cpu("worker")),
            of_masters("cpu_us"),
            of_masters("loop_us"),
            of_masters("cycles"),
            of_masters("calls"),
            median(point, cpu("journal")),
            median(point, cpu_of_others),
            of_masters("net_in"),
            of_masters("net_out"),
            of_masters("aof"),
            size,
        )


def node_limits(costs: Costs, cores: int) -> list[Limit]:
    """One node of so many cores with the server beside it."""
    free = cores - 3
    return [
        Limit(
            "worker processes", f"(cores - 3) / worker CPU = {free} / {costs.worker:.0f} us", free * 1e6 / costs.worker
        ),
        _server("the server's one thread, CPU alone", "server", costs.server, 1.0),
        _server("the server's one thread with its waits for the disk, batched as measured", "loop", costs.loop, 1.0),
        Limit("the journal, one process", f"1 / journal CPU = 1 / {costs.journal:.0f} us", 1e6 / costs.journal),
        Limit(
            "network, 10 Gbit/s each way",
            f"bytes/s / message = 1.25e9 / {costs.size:,.0f}",
            _NETWORK / costs.size,
        ),
    ]


def fleet_limits(single: Costs, clustered: Costs, nodes: int, cores: int, lanes: int) -> list[Limit]:
    """So many nodes of so many cores, servers on machines of their own."""
    free = nodes * (cores - 2)
    journals = min(nodes, lanes)
    limits = [
        Limit(
            "worker processes",
            f"nodes * (cores - 2) / worker CPU = {free} / {clustered.worker:.0f} us",
            free * 1e6 / clustered.worker,
        ),
        Limit(
            "journals, each with lanes of its own",
            f"min(nodes, lanes) / journal CPU = {journals} / {clustered.journal:.0f} us",
            journals * 1e6 / clustered.journal,
        ),
        _server("one server, CPU alone", "server", single.server, 1.0),
        _server("one server with its waits for the disk, batched as measured", "loop", single.loop, 1.0),
        Limit(
            "network of one server, 10 Gbit/s each way",
            f"bytes/s / bytes in = 1.25e9 / {single.net_in:,.0f}",
            _NETWORK / max(single.net_in, single.net_out),
        ),
    ]
    for masters in (3, lanes):
        share = max(len(some) for some in placed([str(lane) for lane in range(lanes)], masters)) / lanes
        limits.append(
            _server(f"Redis Cluster of {masters} masters, the one with most lanes", "server", clustered.server, share)
        )
    return limits


def _server(what: str, name: str, us: float, share: float) -> Limit:
    part = f" * {share:.2f} of the lanes" if share < 1 else ""
    return Limit(what, f"1 / ({name} time{part}) = 1 / {us * share:.0f} us", 1e6 / (us * share))


def newest(results: Path) -> dict[str, dict[str, Any]]:
    """Each curve of the newest result that has it, with that result's heading as `from`. Raises SystemExit."""
    found: dict[str, dict[str, Any]] = {}
    read = [json.loads(path.read_text()) | {"file": path.name} for path in results.glob("*.json")]
    for result in sorted((one for one in read if one.get("command") == "scale"), key=lambda one: str(one["date"])):
        for name, curve in result["curves"].items():
            if curve["points"]:
                found[name] = curve | {"from": {key: value for key, value in result.items() if key != "curves"}}
    missing = {"workers", "nodes", "masters", "rules", "waiting", "domains"} - set(found)
    if missing:
        raise SystemExit(f"python -m bench scaling: no result in {results} has {', '.join(sorted(missing))}")
    return found


_INTRO = """# Scaling

The rates of more cores, nodes and masters. The costs are **measured** on one small machine; every figure called
**computed** follows from them by the formula beside it and was measured nowhere. Written by `python -m bench scaling`
from the results of `python -m bench scale`; not to be edited.
"""
_MEASURED = """## Measured: what a message of {size:,} bytes costs

{cores} workers in all, {sessions} sessions, {domains} domains. Source and sink share the {cores} cores, so that every
process is held up by others: on more cores these costs are rather lower. fdatasync of 4 KiB takes {disk} ms here.
"""


def as_page(curves: dict[str, dict[str, Any]]) -> str:
    workers = curves["workers"]["from"]
    load, cores = workers["load"], workers["machine"]["cores"]
    home = Costs.of(_point(curves["workers"], cores), load["size"])
    single, clustered = (Costs.of(point, load["size"]) for point in curves["masters"]["points"])
    spread = [len(lanes) for lanes in curves["masters"]["points"][-1]["runs"][-1]["lanes"]]
    node = node_limits(home, _CORES)
    fleet = fleet_limits(single, clustered, _NODES, _CORES, sum(spread))
    lines = [
        _INTRO,
        *_sources(curves),
        "",
        _MEASURED.format(**load, cores=cores, disk=workers["fdatasync_ms"]["p50"]),
        *_cost_table({"server of the node": home, "one server over TCP": single, "three masters": clustered}),
        "",
        *_by_workers(curves["workers"], load["size"]),
        "",
        *_by_domains(curves["domains"]),
        "",
        *_memory(curves),
        "",
        *_computed(f"Computed: one node of {_CORES} cores, its server beside it", node),
        "",
        *_computed(f"Computed: {_NODES} nodes of {_CORES} cores, servers on machines of their own", fleet),
        "",
        *_what_limits(node, home, fleet, spread),
    ]
    return "\n".join(lines) + "\n"


def _sources(curves: dict[str, dict[str, Any]]) -> list[str]:
    files: dict[str, list[str]] = {}
    said: dict[str, dict[str, Any]] = {}
    for name, curve in curves.items():
        files.setdefault(curve["from"]["file"], []).append(name)
        said[curve["from"]["file"]] = curve["from"]
    return [
        f"- {', '.join(names)}: `results/{file}`, {said[file]['date'][:10]}, commit "
        f"`{said[file]['commit'].get('commit', 'unknown')[:12]}`, {said[file]['machine']['cores']} cores "
        f"({said[file]['machine']['processor']})"
        for file, names in files.items()
    ]


def _point(curve: dict[str, Any], x: float) -> dict[str, Any]:
    """The point at x, or the last before it."""
    found: dict[str, Any] = [point for point in curve["points"] if point["x"] <= x][-1]
    return found


def _cost_table(columns: dict[str, Costs]) -> list[str]:
    rows = (
        ("worker CPU, us", "worker", ".0f"),
        ("server CPU (its thread; all masters together), us", "server", ".0f"),
        ("time of this thread with its waits for the disk, us", "loop", ".0f"),
        ("rounds of the server's loop, each with one sync at most", "cycles", ".3f"),
        ("calls of Functions", "calls", ".3f"),
        ("journal CPU, us", "journal", ".0f"),
        ("CPU of supervisor, API and sweeper, us", "others", ".0f"),
        ("bytes into the server", "net_in", ",.0f"),
        ("bytes out of the server", "net_out", ",.0f"),
        ("bytes of append-only file", "aof", ",.0f"),
    )
    return [
        f"| measured, by message | {' | '.join(columns)} |",
        "|---" * (len(columns) + 1) + "|",
        *(
            f"| {label} | {' | '.join(format(getattr(costs, name), form) for costs in columns.values())} |"
            for label, name, form in rows
        ),
    ]


def _by_workers(curve: dict[str, Any], size: float) -> list[str]:
    """The same load makes smaller batches where more processes share it."""
    lines = ["| measured, by workers at the same load | worker CPU, us | server CPU, us | calls by message |"]
    lines.append("|---" * 4 + "|")
    for point in curve["points"]:
        costs = Costs.of(point, size)
        lines.append(f"| {point['x']:,.0f} | {costs.worker:.0f} | {costs.server:.0f} | {costs.calls:.3f} |")
    return lines


def _by_domains(curve: dict[str, Any]) -> list[str]:
    lines = [
        "| measured, drain by domains | worker CPU, us | server CPU, us | messages/s here | peak MiB of a worker |"
    ]
    lines.append("|---" * 5 + "|")
    for point in curve["points"]:
        drains = {"runs": [run["drain"] for run in point["runs"]]}
        lines.append(
            f"| {point['x']:,.0f} | {median(drains, cpu('worker')):.0f} | {median(drains, cpu('valkey')):.0f} | "
            f"{median(drains, rate):,.0f} | {median(drains, lambda run: run['peak_mib']['worker']):.0f} |"
        )
    return lines


def per_rule(curve: dict[str, Any]) -> float:
    """Bytes of a worker's memory for each rule."""
    first, last = curve["points"][0], curve["points"][-1]
    grown = _at_start(last) - _at_start(first)
    return float(grown * 2**20 / (last["x"] - first["x"])) if last["x"] > first["x"] else 0.0


def _at_start(point: dict[str, Any]) -> float:
    return median(point, lambda run: run["worker_mib_at_start"])


def _per_delivery(curve: dict[str, Any]) -> float:
    return median(curve["points"][-1], lambda run: run.get("waiting", {}).get("bytes_per_delivery"))


def _memory(curves: dict[str, dict[str, Any]]) -> list[str]:
    worker, of_rule = _at_start(curves["rules"]["points"][0]), per_rule(curves["rules"])
    delivery, size = _per_delivery(curves["waiting"]), curves["workers"]["from"]["load"]["size"]
    rules, queued = 100_000, 1_000_000
    whole = _CORES * (worker + rules * of_rule / 2**20) / 1024
    stored = queued * (delivery + size) / 2**30
    return [
        f"- Memory, measured: a worker starts with {worker:.1f} MiB; a rule takes {of_rule:,.0f} bytes of each worker; "
        f"a delivery that waits takes {delivery:,.0f} bytes of the server besides its content.",
        f"- Memory, computed: {_CORES} workers with {rules:,} rules: {_CORES} * ({worker:.1f} MiB + {rules:,} * "
        f"{of_rule:,.0f} B) = {whole:.1f} GiB; {queued:,} queued messages of {size:,} bytes: {queued:,} * "
        f"({delivery:,.0f} + {size:,}) B = {stored:.1f} GiB of server memory.",
    ]


def _computed(title: str, limits: list[Limit]) -> list[str]:
    lines = [f"## {title}", "", "| what limits | formula | computed messages/s |", "|---|---|---|"]
    return [*lines, *(f"| {limit.what} | {limit.formula} | {limit.rate:,.0f} |" for limit in limits)]


def _what_limits(node: list[Limit], home: Costs, fleet: list[Limit], spread: list[int]) -> list[str]:
    """`spread`: lanes of each master."""
    first = min(node, key=lambda limit: limit.rate)
    lanes, most = sum(spread), max(spread)
    return [
        "## What limits first",
        "",
        f"- Computed: on one node of {_CORES} cores {first.what}, at {first.rate:,.0f} messages/s. The thread of a "
        f"server is full with the mail of {home.worker / home.server:.1f} workers (worker CPU / server CPU).",
        f"- Measured: the {lanes} lanes lie {' + '.join(map(str, spread))} on {len(spread)} masters. Computed: so they "
        f"carry {lanes / most:.1f} times as much as one of them (lanes / most lanes of one), and of more than {lanes} "
        f"masters the others carry no lane.",
        f"- Computed: {_NODES} nodes have worker CPU for {fleet[0].rate:,.0f} messages/s, so the servers limit first, "
        f"then the journals: a lane has one journal at a time.",
    ]


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--results", type=Path, default=COMMITTED, help="where the results of `scale` are")
    parser.add_argument("--page", type=Path, default=_PAGE, help="what is written")


def _main(given: argparse.Namespace) -> int:
    given.page.write_text(as_page(newest(given.results)))
    say(str(given.page))
    return 0


COMMAND = Command(
    "scaling",
    "Write bench/SCALING.md anew: what more would carry, from what was measured.",
    "a second",
    _options,
    _main,
)
