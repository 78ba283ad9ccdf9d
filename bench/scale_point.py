"""A point of a curve: a fleet of some shape is started, filled, loaded, and what it used is counted."""

import asyncio
import contextlib
import re
import subprocess
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import msgspec

from bench.changes import create
from bench.flow import Flow, calibrate, result_of, start_source
from bench.plan import WAITING
from bench.processes import RunVoid, Sink
from bench.progress import Say
from bench.scale_fleet import Fleet, Shape, expect, running, store_of
from bench.scale_proof import orders, prove
from bench.scenario_backlog import backlog
from bench.servers import Counts
from bench.usage import reset_peaks

Point = dict[str, Any]  # JSON

RECIPIENTS = 100  # of a message that waits
WAITING_SIZE = 512  # bytes of it
WAITING_DOMAINS = 20
_CONNECTIONS = 8  # that create the rules
_WARM_UP = 10  # one message in so many goes first, unmeasured
_TELL_EVERY = 5.0
_COMPLAINT = re.compile(r".*?\b((?:WARNING|ERROR|CRITICAL) .*)").match
_COMPLAINTS = 5  # that are kept


def measure(place: Path, shape: Shape, say: Say) -> Point:
    """One run of the shape. The mail with which an earlier run filled `place` is still there. Raises RunVoid."""
    place.mkdir(parents=True, exist_ok=True)
    filled = place / "filled.json"
    with store_of(place, shape) as store:
        if (shape.rules or shape.waiting) and not filled.exists():
            with running(place, shape, store, say) as (fleet, _):
                filled.write_bytes(msgspec.json.encode(_fill(fleet, shape, place, say)))
        with running(place, shape, store, say) as (fleet, sink):
            ready = {
                "ready_after_s": max(node.ready_after for node in fleet.nodes),
                "worker_mib_at_start": max(_rss_mib(fleet)),
            }
            warm_up = msgspec.structs.replace(shape.load, messages=max(shape.load.messages // _WARM_UP, 1))
            calibrate(fleet, sink, warm_up, place, say)
            family = fleet.family()
            reset_peaks(family)
            before = fleet.store.counts()
            with Flow(fleet, sink, shape.load, place, say) as flow:
                found = flow.end()
            after = fleet.store.counts()
            point = _figures(found, before, after) | ready | {"lanes": fleet.store.lanes()}
            if shape.orders:
                point["orders"] = asyncio.run(orders(fleet, shape.orders))
            if shape.waiting:
                expect("what waits", fleet.get(f"/v1/tags/{WAITING}")["queued"], _waiting(shape) * RECIPIENTS)
            if shape.drained:
                point["drain"] = _drain(fleet, sink, shape, place, say)
            if shape.proved:
                point["proof"] = prove(fleet, shape.load, place, say)
    point["complaints"] = _complaints(place / "node.log")
    return point | (msgspec.json.decode(filled.read_bytes()) if filled.exists() else {})


def _figures(found: dict[str, Any], before: list[Counts], after: list[Counts]) -> Point:
    kept = (
        "rate",
        "intake_rate",
        "dot_to_reply_ms",
        "accepted_to_delivered_ms",
        "handover_to_receipt_ms",
        "received_per_second",
        "connections",
    )
    return {name: found[name] for name in kept} | {
        **_used(found),
        "server_mib": round(sum(counts.used_memory for counts in after) / 2**20, 1),
        "masters": [_by_message(one, other, found["messages"]) for one, other in zip(before, after, strict=True)],
        "server": found["server"],
    }


def _used(found: dict[str, Any]) -> Point:
    """CPU per message over all processes of a kind, and the peak of the largest of them."""
    cpu: dict[str, float] = defaultdict(float)
    peaks: dict[str, float] = defaultdict(float)
    for name, use in found["processes"].items():
        role = name.rstrip("0123456789 ")
        cpu[role] += use["cpu_seconds"] / found["messages"] * 1e6
        peaks[role] = max(peaks[role], use.get("peak_rss_mib", 0.0))
    return {
        "messages": found["messages"],
        "cpu_us": {role: round(us, 1) for role, us in cpu.items()},
        "peak_mib": {role: peak for role, peak in peaks.items() if peak},
    }


def _by_message(before: Counts, after: Counts, messages: int) -> dict[str, float]:
    """The work of one master for each message."""
    done = ("cpu_us", "loop_us", "cycles", "calls", "net_in", "net_out", "aof")
    return {name: round((getattr(after, name) - getattr(before, name)) / messages, 4) for name in done}


def _complaints(log: Path) -> list[str]:
    """The first warnings and errors of the nodes, without their times: how often each came."""
    found = Counter(match[1] for line in log.read_text(errors="replace").splitlines() if (match := _COMPLAINT(line)))
    return [f"{count} x {text[:200]}" for text, count in found.most_common(_COMPLAINTS)]


def _rss_mib(fleet: Fleet) -> list[float]:
    return [round(worker.memory_info().rss / 2**20, 1) for worker in fleet.workers()]


def _drain(fleet: Fleet, sink: Sink, shape: Shape, place: Path, say: Say) -> Point:
    """Every queue is full before the first delivery is due; the rate is from then until the last receipt."""
    load = msgspec.structs.replace(shape.load, messages=shape.drained)
    reset_peaks(fleet.family())
    found = backlog(fleet.first, sink, load, place, say)
    kept = ("rate", "seconds", "bytes_per_delivery", "connections")
    return _used(found) | {name: found[name] for name in kept}


def _waiting(shape: Shape) -> int:
    """Messages that wait."""
    return -(-shape.waiting // RECIPIENTS)


def _fill(fleet: Fleet, shape: Shape, place: Path, say: Say) -> Point:
    """Rules and waiting mail; what making them took."""
    found: Point = {}
    if shape.rules:
        empty = max(_rss_mib(fleet))
        found["rules"] = asyncio.run(create(fleet.first, shape.rules, _CONNECTIONS, say))
        found["rules"]["worker_mib_grown"] = round(max(_rss_mib(fleet)) - empty, 1)
    if shape.waiting:
        found["waiting"] = _queue(fleet, shape, place, say)
    return found


def _queue(fleet: Fleet, shape: Shape, place: Path, say: Say) -> Point:
    """Mail that waits for a week: how fast it is taken, and what each delivery costs the store."""
    messages = _waiting(shape)
    load = msgspec.structs.replace(shape.load, messages=messages, size=WAITING_SIZE, domains=WAITING_DOMAINS, source=())
    before = fleet.store.memory()
    source = start_source(load, fleet.smtp, place, "--waiting", str(RECIPIENTS))
    try:
        while source.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                source.wait(_TELL_EVERY)
            say(f"{fleet.get(f'/v1/tags/{WAITING}')['accepted']:,} of {messages * RECIPIENTS:,} deliveries queued")
        sent = result_of(source)
    finally:
        if source.poll() is None:
            source.kill()
            source.wait()
    statement = fleet.get(f"/v1/tags/{WAITING}")
    wanted = messages * RECIPIENTS
    expect("the statement of what waits", (statement["queued"], statement["balanced"]), (wanted, True))
    _until_journaled(fleet)
    content = messages * WAITING_SIZE
    used = fleet.store.memory() - before
    return {
        "deliveries": wanted,
        "accepted_per_second": round(sent["rate"] * RECIPIENTS, 1),
        "dot_to_reply_ms": sent["dot_to_reply_ms"],
        "bytes_per_delivery": round((used - content) / wanted, 1),
    }


def _until_journaled(fleet: Fleet) -> None:
    """Returns when the memory of the store has come to rest: the journal has taken the events."""
    deadline = time.monotonic() + 60.0
    last = -1
    while (used := fleet.store.memory()) < last or last < 0:
        last = used
        time.sleep(1.0)
        if time.monotonic() > deadline:
            raise RunVoid("the journal does not come to rest")
