"""The scenario `inject`: mail over HTTP, as many recipients share a call, and one call a message."""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from bench.books import told
from bench.call_flow import until_received
from bench.calls import SHAPES
from bench.command import positive
from bench.flow import Load
from bench.machine import sync_latency
from bench.plan import CAMPAIGN
from bench.processes import Node, RunVoid, Sink
from bench.progress import Say
from bench.report import process_table
from bench.rig import directory, running
from bench.scenario import Figure, Run, Scenario, load_of, load_options
from bench.usage import server_version, spent, usage

_WORDS = {
    "same": "ready MIME, 100 recipients a call",
    "data": "a template and data, 100 recipients a call",
    "one": "ready MIME, one message a call",
    "composed": "composed, one message a call",
}
_ALONE = ("one", "composed")


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--deliveries", type=positive, default=20_000, help="of each shape")
    parser.add_argument("--shape", choices=(*SHAPES, "all"), default="all", help="of the calls")
    parser.add_argument("--door", choices=("mail", "api", "both"), default="both", help="the listener that is called")
    parser.add_argument("--connections", type=positive, default=16, help="HTTP connections of the source")
    parser.add_argument("--batch", type=positive, default=100, help="recipients of a call of many")
    load_options(parser)


def _run(load: Load, given: argparse.Namespace, root: Path, say: Say) -> Run:
    legs: dict[str, Any] = {}
    with directory(root) as place:
        disk = sync_latency(place)
        for shape in SHAPES if given.shape == "all" else (given.shape,):
            for name in ("mail", "api") if given.door == "both" else (given.door,):
                leg = f"{shape}, {name}"
                say(f"{_WORDS[shape]}, through the listener of {name}")
                with running(place, load, say, f"{shape}-{name}") as (node, sink):
                    legs[leg] = _leg(node, sink, load, given, shape, name)
                    server = server_version(node.family())
                say(f"{legs[leg]['rate']:,.0f} deliveries/s in, {legs[leg]['end_to_end']:,.0f}/s through")
    return {"legs": legs, "server": server, "fdatasync_ms": disk}


def _leg(node: Node, sink: Sink, load: Load, given: argparse.Namespace, shape: str, name: str) -> dict[str, Any]:
    """One node, one shape, one door. Raises RunVoid."""
    door = str(node.ready_line["inject"][0]) if name == "mail" else node.api
    recipients = 1 if shape in _ALONE else given.batch
    calls = max(1, given.deliveries // recipients)
    sink.account()
    before = usage(node.family())
    command = [sys.executable, "-m", "bench.calls", "--target", door.removeprefix("http://"), "--shape", shape]
    command += ["--calls", str(calls), "--recipients", str(recipients), "--size", str(load.size)]
    command += ["--connections", str(given.connections), "--domains", str(load.domains)]
    environ = os.environ | {"FLOODGATE_TOKEN": node.token}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    if not done.stdout.strip():
        raise RunVoid(f"the source ended with status {done.returncode}: {done.stderr[-300:]}")
    sent: dict[str, Any] = json.loads(done.stdout)
    wanted = calls * recipients
    if sent["accepted"] != wanted:
        raise RunVoid(f"{sent['accepted']} of {wanted} deliveries were accepted: {sent['refused']}")
    until_received(sink, wanted)
    got = sink.account()
    statement = told(node, CAMPAIGN)
    if (statement.accepted, statement.balanced) != (wanted, True):
        raise RunVoid(f"the statement has {statement}, not {wanted} accepted deliveries")
    processes = spent(before, usage(node.family()))
    processes["source"] = {"cpu_seconds": sent["cpu_seconds"], "peak_rss_mib": 0.0}
    return {
        "calls": calls,
        "deliveries": wanted,
        "rate": round(wanted / (sent["last"] - sent["first"]), 1),
        "calls_per_second": round(calls / (sent["last"] - sent["first"]), 1),
        "end_to_end": round(wanted / (got["last"] - sent["first"]), 1),
        "call_ms": sent["call_ms"],
        "processes": processes,
    }


def _figure(shape: str, name: str, key: str, words: str) -> Figure:
    leg = f"{shape}, {name}"
    return Figure(f"{_WORDS[shape]}, {words}", lambda run: run["legs"][leg][key] if leg in run["legs"] else None)


_FIGURES = {
    f"{shape}-{name}-{key}": _figure(shape, name, key, f"{'own listener' if name == 'mail' else 'API'}, {words}")
    for shape in SHAPES
    for name in ("mail", "api")
    for key, words in (("rate", "deliveries/s in"), ("end_to_end", "deliveries/s through"))
}


def _conditions(load: dict[str, Any], options: dict[str, Any]) -> str:
    return f"""
    A node with {load["workers"]} workers, its embedded server and `api.inject_listen` takes {options["deliveries"]:,}
    deliveries of {load["size"]:,} bytes over {options["connections"]} HTTP connections, for each shape of the
    calls and for each way in: the listener for mail, or the API, which passes them on. "In" is from the first call to
    the last answer, "through" to the last receipt of the sink; mail is delivered meanwhile. A run is void unless every
    delivery was accepted, received and counted by the statement of its tag."""


def _lines(run: Run) -> list[str]:
    lines = ["| calls | calls/s | deliveries/s in | through | call ms p50 | p99 |", "|---|---|---|---|---|---|"]
    for name, leg in run["legs"].items():
        times = leg["call_ms"]
        lines.append(
            f"| {name} | {leg['calls_per_second']} | {leg['rate']} | {leg['end_to_end']} | {times['p50']} | "
            f"{times['p99']} |"
        )
    for name, leg in run["legs"].items():
        lines += ["", f"{name}:", "", *process_table(leg["processes"], leg["deliveries"], "deliveries")]
    return lines


def _load(given: argparse.Namespace) -> Load:
    load = load_of(given, given.deliveries)
    load.settings.append("api.inject_listen=127.0.0.1:0")
    return load


SCENARIO = Scenario(
    name="inject",
    about="Mail over HTTP: calls with many recipients or one, to the listener for mail and through the API.",
    takes="3 minutes",
    repeat=3,
    options=_options,
    load=_load,
    run=_run,
    figures=_FIGURES,
    conditions=_conditions,
    lines=_lines,
)
