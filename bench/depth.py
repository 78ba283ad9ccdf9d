"""The scenario `depth`: what a million queued deliveries cost, at rest, at the start of a node and while they drain."""

import argparse
import contextlib
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from bench.command import positive
from bench.flow import Load, result_of, start_source
from bench.log_tail import LogTail
from bench.machine import sync_latency
from bench.plan import CAMPAIGN
from bench.processes import Node, RunVoid, Sink
from bench.progress import Say
from bench.report import process_table
from bench.rig import directory, end_well, stopping
from bench.scenario import Figure, Run, Scenario, load_of, load_options
from bench.servers import Master
from bench.usage import server_version, spent, usage

_QUIET = 'node.roles=["smtp", "api", "journal"]'  # takes mail, and delivers none
_CONTENTS, _SAMPLE = "fg:{0}:content", 100
_POLL = 0.02
_TELL_EVERY = 5.0
_JOURNAL_WITHIN = 120.0
_FIRST_WITHIN = 60.0
_NO_RECEIPT_FOR = 30.0
_OPENING, _CLOSING = 1 / 6, 5 / 6  # of the deliveries looked at: what lies between is the rate


class Leg(NamedTuple):
    """A queue that was filled, and drained by a node started on it."""

    queued: int
    drained: int  # deliveries over which the rate is taken, the opening and the end of it apart


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--messages", type=positive, default=1_000_000, help="deliveries in the deep queue")
    parser.add_argument("--shallow", type=positive, default=60_000, help="deliveries in the queue it is compared with")
    parser.add_argument("--recipients", type=positive, default=1, help="deliveries of one message, which share content")
    parser.add_argument(
        "--beside",
        default=shutil.which("redis-server") or "",
        metavar="FILE",
        help="another server whose memory for a delivery is measured, too; empty = none",
    )
    parser.add_argument("--beside-messages", type=positive, default=100_000, help="deliveries queued there")
    load_options(parser)
    parser.set_defaults(size=512)


def _run(load: Load, given: argparse.Namespace, root: Path, say: Say) -> Run:
    if load.recipients > 1:
        load = msgspec.structs.replace(load, source=(*load.source, "--recipients", str(load.recipients)))
    shallow, deep = Leg(given.shallow, given.shallow), Leg(given.messages, min(given.shallow, given.messages))
    with directory(root) as place:
        disk = sync_latency(place)
        legs = {}
        for name, leg in (("shallow", shallow), ("deep", deep), ("shallow again", shallow)):
            say(f"{name}: {leg.queued:,} deliveries")
            legs[name] = _leg(place / name.replace(" ", "-"), load, leg, say)
        beside: dict[str, Any] = {}
        if given.beside:
            say(f"beside: {given.beside_messages:,} deliveries in {given.beside}")
            beside = _beside(place / "beside", load, given.beside_messages, given.beside, say)
        server = legs["deep"].pop("server")
    flat = (legs["shallow"]["drain_rate"] + legs["shallow again"]["drain_rate"]) / 2
    kept = round(legs["deep"]["drain_rate"] / flat, 3)
    say(f"drain from {deep.queued:,} at {kept:.0%} of the rate from {shallow.queued:,}")
    return {"legs": legs, "beside": beside, "drain_kept": kept, "server": server, "fdatasync_ms": disk}


def _leg(place: Path, load: Load, leg: Leg, say: Say) -> dict[str, Any]:
    """Fill, restart the server, start a node, drain, and look at the books. Raises RunVoid."""
    with _sink(place, load) as sink:
        with _server(place) as master:
            filled = _filled(place, load, leg.queued, master, sink, say)
        size = sum(file.stat().st_size for file in (place / "server").rglob("*") if file.is_file())
        loading = time.monotonic()
        with _server(place) as master:
            loaded = round(time.monotonic() - loading, 2)
            say(f"the server loaded {size / 2**20:,.0f} MiB in {loaded:.1f} s")
            drained = _drained(place, load, leg, master, sink, say)
            received = _settled(place, load, leg.queued, master, sink)
    return filled | drained | {"load_s": loaded, "data_mib": round(size / 2**20, 1), "received": received}


def _beside(place: Path, load: Load, queued: int, binary: str, say: Say) -> dict[str, Any]:
    """The cost of a delivery in another server. Raises RunVoid."""
    with _sink(place, load) as sink, _server(place, binary) as master:
        return _filled(place, load, queued, master, sink, say)


@contextlib.contextmanager
def _sink(place: Path, load: Load) -> Iterator[Sink]:
    place.mkdir()
    with stopping(Sink(place / "sink.log", *load.destination)) as sink:
        yield sink


@contextlib.contextmanager
def _server(place: Path, binary: str = "") -> Iterator[Master]:
    with stopping(Master(place / "server", binary=binary)) as master:
        master.answering()
        yield master


@contextlib.contextmanager
def _node(place: Path, load: Load, master: Master, sink: Sink, *more: str) -> Iterator[Node]:
    server = f"redis://127.0.0.1:{master.port}"
    settings = [*load.settings, *more]
    with stopping(
        Node(place / "data", load.workers, sink.address, place / "node.log", settings, server=server)
    ) as node:
        yield node
        end_well(node)


def _filled(place: Path, load: Load, queued: int, master: Master, sink: Sink, say: Say) -> dict[str, Any]:
    """Queues so many, due at once, through a node that delivers nothing; what each of them costs the server."""
    messages = -(-queued // load.recipients)
    if messages * load.recipients != queued:
        raise RunVoid(f"{queued} deliveries do not come in messages of {load.recipients}")
    with _node(place, load, master, sink, _QUIET) as node:
        log = LogTail(node.logs, "Reception")
        before = master.memory()
        start = told = time.monotonic()
        source = start_source(msgspec.structs.replace(load, messages=messages), node.smtp, place)
        try:
            while source.poll() is None:
                time.sleep(_POLL)
                if time.monotonic() - told > _TELL_EVERY:
                    told = time.monotonic()
                    say(f"{node.get(f'/v1/tags/{CAMPAIGN}')['queued']:,} of {queued:,} queued")
            result_of(source)
        finally:
            if source.poll() is None:
                source.kill()
                source.wait()
        seconds = time.monotonic() - start
        _logged(log, queued)
        used = master.memory() - before
        statement = node.get(f"/v1/tags/{CAMPAIGN}")
    if (statement["accepted"], statement["queued"], statement["balanced"]) != (queued, queued, True):
        raise RunVoid(f"of {queued} deliveries the statement says {statement}")
    kept = _content_size(master)
    each = round((used - messages * kept) / queued, 1)
    say(f"{queued:,} queued at {queued / seconds:,.0f}/s, {each} bytes each besides {kept:.0f} bytes of content")
    return {
        "queued": queued,
        "queued_per_second": round(queued / seconds, 1),
        "bytes_per_delivery": each,
        "bytes_per_delivery_besides_sent": round((used - messages * load.size) / queued, 1),
        "bytes_per_delivery_with_content": round(used / queued, 1),
        "content_kept": round(kept, 1),
        "allocator": master.says("memory", "mem_allocator"),
        "server_version": master.says("server", "valkey_version") or master.says("server", "redis_version"),
    }


def _content_size(master: Master) -> float:
    """Bytes of a message as the server keeps it: without the headers that were for us, with ours; mean of a sample."""
    names = master.ask("HRANDFIELD", _CONTENTS, _SAMPLE)
    return float(sum(master.ask("HSTRLEN", _CONTENTS, name) for name in names) / len(names))


def _logged(log: LogTail, expected: int) -> None:
    """Returns once the journal has taken what was accepted. Raises RunVoid."""
    deadline = time.monotonic() + _JOURNAL_WITHIN
    while (counted := log.count()) != (expected, expected):
        if time.monotonic() > deadline:
            raise RunVoid(
                f"the delivery log has {counted[0]} Reception lines for {counted[1]} of {expected} deliveries"
            )
        time.sleep(0.2)


def _drained(place: Path, load: Load, leg: Leg, master: Master, sink: Sink, say: Say) -> dict[str, Any]:
    """A node started on the running server: when its first delivery arrives, and the rate of those that follow."""
    sink.account()
    started = time.time()
    with _node(place, load, master, sink) as node:
        first = _count_of(sink, 1, _FIRST_WITHIN)
        begun = _count_of(sink, int(leg.drained * _OPENING), _NO_RECEIPT_FOR)
        family = [*node.family(), master.as_process()]
        used = usage(family)
        ended = _count_of(sink, int(leg.drained * _CLOSING), _NO_RECEIPT_FOR)
        processes = spent(used, usage(family))
        if leg.drained == leg.queued:
            _count_of(sink, leg.queued, _NO_RECEIPT_FOR)
    rate = round((ended[1] - begun[1]) / (ended[0] - begun[0]), 1)
    delay = round(float(sink.stats()["first"]) - started, 3)
    say(f"ready after {node.ready_after} s, first delivery after {delay} s, {rate:,.0f}/s")
    return {
        "ready_s": node.ready_after,
        "first_delivery_s": delay,
        "drain_rate": rate,
        "drained": ended[1] - begun[1],
        "at_first_look": first[1],
        "processes": processes,
        "server": server_version([master.as_process()]),
    }


def _count_of(sink: Sink, count: int, patience: float) -> tuple[float, int]:
    """When so many had been received, and how many by then; `patience`: seconds without a receipt. Raises RunVoid."""
    last, moved = -1, time.monotonic()
    while True:
        now, received = time.monotonic(), int(sink.stats()["receipts"])
        if received >= count:
            return now, received
        if received != last:
            last, moved = received, now
        if now - moved > patience:
            raise RunVoid(f"no receipt for {patience:.0f} s; {received} have arrived")
        time.sleep(_POLL)


def _settled(place: Path, load: Load, queued: int, master: Master, sink: Sink) -> int:
    """Checks that the statement has the receipts as delivered and the rest as queued. Raises RunVoid."""
    got = sink.stats()
    with _node(place, load, master, sink, _QUIET) as node:
        statement = node.get(f"/v1/tags/{CAMPAIGN}")
    checks = (
        ("delivered", statement["delivered"], got["unique"]),
        ("queued", statement["queued"], queued - got["unique"]),
        ("accepted", statement["accepted"], queued),
        ("balanced", statement["balanced"], True),
        ("received twice", got["duplicates"], 0),
    )
    if wrong := [f"{what} is {found}, not {wanted}" for what, found, wanted in checks if found != wanted]:
        raise RunVoid(f"after the drain {'; '.join(wrong)}")
    return int(got["unique"])


def _of_leg(label: str, leg: str, name: str) -> Figure:
    return Figure(label, lambda run: run["legs"][leg][name])


_FIGURES = {
    "first": _of_leg("deep queue: start of the node to the first delivery, s", "deep", "first_delivery_s"),
    "first_shallow": _of_leg("shallow queue: the same", "shallow", "first_delivery_s"),
    "drain": _of_leg("deep queue: drained, deliveries/s", "deep", "drain_rate"),
    "drain_shallow": _of_leg("shallow queue: the same", "shallow", "drain_rate"),
    "drain_again": _of_leg("shallow queue, once more after it: the same", "shallow again", "drain_rate"),
    "kept": Figure("deep by shallow (mean of both)", lambda run: run["drain_kept"]),
    "bytes": _of_leg("server memory per queued delivery besides the content, bytes", "deep", "bytes_per_delivery"),
    "bytes_beside": Figure("the same in the other server", lambda run: run["beside"].get("bytes_per_delivery")),
    "load": _of_leg("the server loads the deep queue's append-only file, s", "deep", "load_s"),
    "filled": _of_leg("deliveries queued/s over SMTP", "deep", "queued_per_second"),
}


def _conditions(load: dict[str, Any], options: dict[str, Any]) -> str:
    return f"""
    A server of its own, started as the embedded one is, is kept running beside the nodes. A node without the role
    `delivery` takes messages of {load["size"]:,} bytes with {load["recipients"]} recipients each, all due at
    once, until {options["messages"]:,} deliveries (deep) or {options["shallow"]:,} (shallow) are queued for
    {load["domains"]} domains; memory is
    `used_memory` before and after, once the journal had taken the events, less the content as the server keeps it (the
    injection headers are gone from it, and it has a Received header more). The node is stopped, and the server started
    again, which gives the time to load its append-only file. On this server a node with all roles is started: first
    delivery is the first receipt of the sink, from before the node's process was made. Its rate is that of the receipts
    from a sixth to five sixths of {min(options["shallow"], options["messages"]):,} deliveries, so both queues are
    drained over the same count; the shallow one is drained before and after the deep one. A run is void
    unless the statement has as delivered what the sink received, each once, and all the rest as queued."""


def _lines(run: Run) -> list[str]:
    lines: list[str] = []
    for name, leg in run["legs"].items():
        lines += [
            "",
            f"- {name}: {leg['queued']:,} queued at {leg['queued_per_second']:,}/s, {leg['bytes_per_delivery']} bytes "
            f"each besides the content as kept, {leg['content_kept']} bytes "
            f"({leg['bytes_per_delivery_besides_sent']} besides that as sent, {leg['bytes_per_delivery_with_content']} "
            f"with it; server {leg['server_version']}, {leg['allocator']}); {leg['data_mib']:,} MiB loaded in "
            f"{leg['load_s']} s",
            f"- {name}: ready after {leg['ready_s']} s, first delivery after {leg['first_delivery_s']} s; "
            f"{leg['drained']:,} drained at {leg['drain_rate']:,}/s; {leg['received']:,} received in all",
        ]
        lines += process_table(leg["processes"], leg["drained"], "delivery")
    if beside := run["beside"]:
        lines += [
            "",
            f"- other server {beside['server_version']} ({beside['allocator']}): {beside['bytes_per_delivery']} bytes "
            f"for each of {beside['queued']:,} besides the content, "
            f"{beside['bytes_per_delivery_with_content']} with it",
        ]
    return lines


SCENARIO = Scenario(
    name="depth",
    about="A million queued deliveries: memory, the start of a node on them, and the rate at which they drain.",
    takes="15 minutes",
    repeat=1,
    options=_options,
    load=lambda given: msgspec.structs.replace(load_of(given, given.messages), recipients=given.recipients),
    run=_run,
    figures=_FIGURES,
    conditions=_conditions,
    lines=_lines,
)
