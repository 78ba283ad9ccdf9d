"""One run: load, node and sink together, and the checks without which its figures mean nothing."""

import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from bench.machine import sync_latency
from bench.processes import Node, RunVoid, Sink, server_version, spent, usage
from bench.source import CAMPAIGN, customer_of

_JOURNAL_WITHIN = 5.0
_NO_RECEIPT_FOR = 30.0


class Load(msgspec.Struct, frozen=True):
    """What a run sends and through what."""

    messages: int
    size: int
    sessions: int
    domains: int
    workers: int
    settings: list[str]


Say = Callable[[str], None]
_C = TypeVar("_C", Sink, Node)


def direct_hop(load: Load, logs: Path) -> dict[str, Any]:
    """Source to sink with nothing between: the ceiling of this machine for this load."""
    sink = Sink(logs / "sink.log")
    try:
        source = _source(load, sink.address, logs)
        sent = json.loads(source.communicate()[0])
        return _hop(sent, sink.account())
    finally:
        sink.stop()


def one_run(load: Load, data_root: Path, say: Say) -> dict[str, Any]:
    """The direct hop and the node, each over the same load. Raises RunVoid."""
    with _directory(data_root) as place:
        disk = sync_latency(place)
        say(f"disk: fdatasync of 4 KiB {disk['p50']} ms median, {disk['p99']} ms p99")
        direct = direct_hop(load, place)
        say(f"direct hop: {direct['rate']:,.0f} messages/s")
        with _stopping(Sink(place / "sink.log")) as sink:
            node_log = place / "node.log"
            with _stopping(Node(place / "data", load.workers, sink.address, node_log, load.settings)) as node:
                say("node is ready")
                result = _through(node, sink, load, place, say)
                status = node.stop()
            if status != 0:
                raise RunVoid(f"the node ended with status {status} after SIGTERM")
        result["direct"] = direct
        result["of_direct"] = round(result["rate"] / direct["rate"], 3)
        result["fdatasync_ms"] = disk
        return result


def _through(node: Node, sink: Sink, load: Load, logs: Path, say: Say) -> dict[str, Any]:
    server = server_version(node.family())
    before = usage(node.family())
    source = _source(load, node.smtp, logs)
    try:
        sent = _watch(source, sink, load, say)
    finally:
        if source.poll() is None:
            source.kill()
            source.wait()
    caught_up = _journal_caught_up(node.data_dir / "log" / "delivery.jsonl", sent["accepted"], sink)
    processes = spent(before, usage(node.family()))
    got = sink.ask("stats", "stats")
    statement = _statement(node, sent, got)
    got = sink.account()
    hop = _hop(sent, got)
    processes["source"] = {"cpu_seconds": round(sent["cpu_seconds"], 2)}
    processes["sink"] = {"cpu_seconds": round(got["cpu_seconds"], 2)}
    say(f"{hop['rate']:,.0f} messages/s end to end, intake {hop['intake_rate']:,.0f}/s, journal +{caught_up:.2f} s")
    return hop | {"journal_caught_up_s": caught_up, "statement": statement, "processes": processes, "server": server}


def _source(load: Load, target: str, logs: Path) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "bench.source", "--target", target, "--messages", str(load.messages)]
    command += ["--size", str(load.size), "--sessions", str(load.sessions), "--domains", str(load.domains)]
    with (logs / "source.log").open("ab") as errors:
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors)


def _watch(source: "subprocess.Popen[bytes]", sink: Sink, load: Load, say: Say) -> dict[str, Any]:
    """Waits for the source to end and for the sink to have all that was accepted; what the source says."""
    sent: dict[str, Any] | None = None
    last_count, last_moved, told = 0, time.monotonic(), time.monotonic()
    while True:
        if sent is None and source.poll() is not None:
            sent = _sent(source)
        got = sink.ask("stats", "stats")
        now = time.monotonic()
        if got["unique"] != last_count:
            last_count, last_moved = got["unique"], now
        if sent is not None and got["unique"] >= sent["accepted"]:
            return sent
        if now - last_moved > _NO_RECEIPT_FOR:
            raise RunVoid(f"no receipt for {_NO_RECEIPT_FOR:.0f} s; {got['unique']} of {load.messages} have arrived")
        if now - told > 2.0:
            told = now
            say(f"{got['unique']:,} of {load.messages:,} received")
        time.sleep(0.1)


def _sent(source: "subprocess.Popen[bytes]") -> dict[str, Any]:
    text = source.communicate()[0]
    if not text.strip():
        raise RunVoid(f"the source ended with status {source.returncode} and no result")
    sent: dict[str, Any] = json.loads(text)
    if sent["failed"]:
        raise RunVoid(f"{sent['failed']} messages were not accepted: {sent['replies']}")
    return sent


class _Line(msgspec.Struct):
    type: str
    id: str = ""


def delivery_lines(path: Path) -> tuple[int, int]:
    """How many Delivery lines the log has, and for how many different deliveries."""
    decoder = msgspec.json.Decoder(_Line)
    ids = []
    with path.open("rb") as log:
        for raw in log:
            if b'"Delivery"' in raw and raw.endswith(b"\n"):
                line = decoder.decode(raw)
                if line.type == "Delivery":
                    ids.append(line.id)
    return len(ids), len(set(ids))


def _journal_caught_up(path: Path, accepted: int, sink: Sink) -> float:
    """Seconds from the last receipt until the log has one Delivery line per delivery. Raises RunVoid after 5 s."""
    last = float(sink.ask("stats", "stats")["last"])
    lines = different = 0
    while True:
        if path.exists():
            lines, different = delivery_lines(path)
        late = time.time() - last
        if lines == different == accepted:
            return round(max(late, 0.0), 2)
        if late > _JOURNAL_WITHIN or lines > accepted:
            raise RunVoid(
                f"{late:.1f} s after the last receipt the delivery log has {lines} Delivery lines for {different} "
                f"deliveries; {accepted} were accepted"
            )
        time.sleep(0.1)


def _statement(node: Node, sent: dict[str, Any], got: dict[str, Any]) -> dict[str, Any]:
    """The statement of the campaign tag, once it equals the receipts. Raises RunVoid."""
    try:
        whole = node.get(f"/v1/tags/{CAMPAIGN}")
        share = node.get(f"/v1/tags/{customer_of(0)}")
    except (OSError, urllib.error.HTTPError, ValueError) as error:
        raise RunVoid(f"the statement could not be read: {error}") from None
    expected = sum(1 for number in range(sent["messages"]) if customer_of(number) == customer_of(0))
    wrong = [
        f"{what} is {found}, not {wanted}"
        for what, found, wanted in (
            ("accepted", whole.get("accepted"), sent["accepted"]),
            ("delivered", whole.get("delivered"), got["unique"]),
            ("balanced", whole.get("balanced"), True),
            (f"delivered of {customer_of(0)}", share.get("delivered"), expected),
        )
        if found != wanted
    ]
    if wrong:
        raise RunVoid(f"the statement of {CAMPAIGN} is wrong: {'; '.join(wrong)}")
    return dict(whole)


def _hop(sent: dict[str, Any], got: dict[str, Any]) -> dict[str, Any]:
    seconds = got["last"] - sent["first_mail"]
    return {
        "messages": sent["accepted"],
        "seconds": round(seconds, 3),
        "rate": round(got["unique"] / seconds, 1),
        "intake_rate": round(sent["rate"], 1),
        "deferred_at_intake": sent["deferred"],
        "duplicates": got["duplicates"],
        "dot_to_reply_ms": sent["dot_to_reply_ms"],
        "handover_to_receipt_ms": got["handover_to_receipt_ms"],
        "received_per_second": got["per_second"],
        "connections": got["connections"],
        "source_us_per_message": round(sent["cpu_seconds"] / sent["accepted"] * 1e6, 1),
        "sink_us_per_message": round(got["cpu_seconds"] / got["unique"] * 1e6, 1),
    }


@contextlib.contextmanager
def _directory(root: Path) -> Iterator[Path]:
    """A fresh directory under `root`, removed afterwards unless the run was void (its logs then say why)."""
    place = Path(tempfile.mkdtemp(prefix="floodgate-bench-", dir=root))
    try:
        yield place
    except RunVoid as error:
        raise RunVoid(f"{error} (logs and data are kept in {place})") from None
    except BaseException:
        shutil.rmtree(place, ignore_errors=True)
        raise
    shutil.rmtree(place, ignore_errors=True)


@contextlib.contextmanager
def _stopping(child: _C) -> Iterator[_C]:
    try:
        yield child
    finally:
        child.stop()
