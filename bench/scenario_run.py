"""One run of a scenario file: the direct hop, then a node of its own, the load, and what the file wants meanwhile."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec

from bench.changes import create
from bench.flow import Flow, Load, calibrate, hop_of, result_of, start_source
from bench.machine import sync_latency
from bench.processes import Node, RunVoid, Sink
from bench.progress import Say
from bench.rig import directory, running, stopping
from bench.sampler import Sampler
from bench.scenario import Run
from bench.scenario_backlog import backlog
from bench.scenario_cancel import account, cancel
from bench.scenario_dkim import all_signed, make_keys
from bench.scenario_file import ScenarioFile

_CREATORS = 8  # REST connections
_MOST_TO_CALIBRATE = 20_000


def direct_hop(load: Load, logs: Path) -> dict[str, Any]:
    """Source to sink with nothing between, and a sink that takes all at once: the ceiling of this machine."""
    with stopping(Sink(logs / "sink.log")) as sink:
        return hop_of(result_of(start_source(load, sink.address, logs)), sink.account(), load.recipients)


def run(scenario: ScenarioFile, root: Path, say: Say) -> Run:
    """The figures of one run. Raises RunVoid."""
    load = scenario.as_load()
    with directory(root) as place:
        disk = sync_latency(place)
        say(f"disk: fdatasync of 4 KiB {disk['p50']} ms median, {disk['p99']} ms p99")
        direct = direct_hop(load, place)
        say(f"direct hop: {direct['rate']:,.0f} messages/s")
        with running(place, load, say) as (node, sink):
            found = _through(scenario, node, sink, load, place, say)
        _check_destination(scenario, found)
    return found | {"direct": direct, "of_direct": round(found["rate"] / direct["rate"], 3), "fdatasync_ms": disk}


def _through(scenario: ScenarioFile, node: Node, sink: Sink, load: Load, place: Path, say: Say) -> Run:
    """The load through the node, in the shape that the file gives it."""
    shape = scenario.shape
    before: Run = {}
    rate = scenario.load.rate
    if shape.rules:
        before["created"] = asyncio.run(create(node, shape.rules, _CREATORS, say))
    if shape.dkim:
        before["dkim"] = asyncio.run(make_keys(node, shape.dkim, say))
    if shape.of_maximum:
        short = msgspec.structs.replace(load, messages=min(load.messages, _MOST_TO_CALIBRATE))
        before["maximum"] = calibrate(node, sink, short, place, say)["rate"]
        rate = before["maximum"] * shape.of_maximum
        say(f"{shape.of_maximum:.0%} of {before['maximum']:,.0f}/s: {rate:,.0f} messages/s")
    if rate:
        before["asked_rate"] = round(rate, 1)
    with Sampler(node) as samples:
        if shape.backlog_first:
            found = backlog(node, sink, load, place, say)
        else:
            with Flow(node, sink, load, place, say, rate=rate) as flow:
                order = cancel(flow, node, load, shape.cancel_at, say) if shape.cancel_at else None
                found = flow.end()
                if order:
                    found["cancel"] = account(order, flow.receipts(), found, load.recipients)
    if shape.dkim and not all_signed(node, load.messages * len(shape.dkim)):
        raise RunVoid("the scenario wants signed mail, and some was not")
    found["over_time"] |= samples.since(found["first_mail"])
    return before | found


def _check_destination(scenario: ScenarioFile, found: Run) -> None:
    """The destination was what the file says. Raises RunVoid."""
    to = scenario.destination
    checks = (
        ("deferred", to.defer, found["deferred_at_sink"]),
        ("stalled", to.stall, found["stalled_at_sink"]),
        ("connected with TLS", to.tls, found["secured_connections"]),
    )
    if missed := [what for what, wanted, count in checks if wanted and not count]:
        raise RunVoid(f"the scenario wants mail {' and '.join(missed)}, and none was")
