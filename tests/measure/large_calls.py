"""Small calls beside large ones: `python -m tests.measure.large_calls [--calls N] [--mib N]`.

A node takes calls of one small message at a steady rate over HTTP, first alone, then while calls with a large
attachment come. The figures are the times from a small call to its answer, and how long something held the event loop
of the process that takes mail.
"""

import argparse
import base64
import concurrent.futures
import datetime
import json
import re
import secrets
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any, Final

from bench import machine
from bench.call_flow import CallFlow
from bench.flow import Load
from bench.processes import Node, Sink
from bench.report import heading, machine_lines, write
from bench.rig import stopping

ROOT: Final = Path(__file__).parents[2]
RATE: Final = 100.0  # small calls a second
ALONE: Final = 8.0  # seconds
AT_ONCE: Final = 2  # large calls
SMALL: Final = 4096


def measure(calls: int, mib: int, place: Path) -> dict[str, Any]:
    """The figures of one run."""
    settings = ["api.inject_listen=127.0.0.1:0"]
    load = Load(1, SMALL, 1, 5, 2, settings)
    with (
        stopping(Sink(place / "sink.log")) as sink,
        stopping(Node(place / "data", 2, sink.address, place / "node.log", settings)) as node,
    ):
        with CallFlow(node, sink, load, RATE) as flow:
            time.sleep(ALONE)
            alone = flow.end()
        held_before = _longest_hold(node)
        with CallFlow(node, sink, load, RATE) as flow:
            time.sleep(1.0)
            content = base64.b64encode(secrets.token_bytes(mib << 20)).decode()
            with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as threads:
                took = list(threads.map(lambda number: _large(node, content, number), range(calls)))
            beside = flow.end()
        held = _longest_hold(node)
    return {
        "calls": calls,
        "mib": mib,
        "rate": RATE,
        "alone_ms": alone["call_ms"],
        "beside_ms": beside["call_ms"],
        "large_seconds": round(sorted(took)[len(took) // 2], 3),
        "longest_hold_before_ms": round(held_before * 1000, 1),
        "longest_hold_ms": round(held * 1000, 1),
    }


def _large(node: Node, content: str, number: int) -> float:
    """Seconds from the call to its answer."""
    body = {
        "from": "a@source.test",
        "to": [f"large{number}@d0.bench.test"],
        "subject": "large",
        "text": "see the attachment",
        "attachments": [{"filename": "file.bin", "content": content}],
    }
    raw, target = json.dumps(body).encode(), f"{node.ready_line['inject'][0]}/v1/messages"
    request = urllib.request.Request(target, raw, {"Content-Type": "application/json"})
    request.add_header("Authorization", f"Bearer {node.token}")
    begun = time.monotonic()
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert answer.status == 202
        answer.read()
    return time.monotonic() - begun


def _longest_hold(node: Node) -> float:
    """Seconds, of the process that takes mail."""
    time.sleep(2.0)  # its figures come once a second
    with urllib.request.urlopen(f"{node.api}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    found = re.findall(r"^floodgate_loop_longest_hold_seconds\{.*\} (\S+)$", text, re.MULTILINE)
    return max(map(float, found), default=0.0)


def as_page(result: dict[str, Any]) -> str:
    """The result for people."""
    found = result["found"]
    rows = [
        ("small calls, answered after ms: p50 alone", found["alone_ms"]["p50"]),
        ("p99 alone", found["alone_ms"]["p99"]),
        ("p50 beside large calls", found["beside_ms"]["p50"]),
        ("p99 beside large calls", found["beside_ms"]["p99"]),
        ("large calls, answered after s: median", found["large_seconds"]),
        ("longest hold of the loop, ms: alone", found["longest_hold_before_ms"]),
        ("longest hold of the loop, ms: with large calls", found["longest_hold_ms"]),
    ]
    lines = [*heading(result), "", "| figure | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows), ""]
    lines += [
        "## How it was measured",
        "",
        f"{found['rate']:g} calls/s of one message of {SMALL} bytes each to the listener for mail of a node with two "
        f"workers, for {ALONE:g} s alone, then while {found['calls']} calls with an attachment of {found['mib']} MiB "
        f"came, {AT_ONCE} at a time. Source and destination ran beside it.",
        "",
        *machine_lines(result),
    ]
    return "\n".join(lines) + "\n"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.measure.large_calls", description="Small beside large.")
    parser.add_argument("--calls", type=int, default=20, help="with a large attachment")
    parser.add_argument("--mib", type=int, default=10, help="of an attachment")
    parser.add_argument("--results", type=Path, default=ROOT / "tests" / "results", help="where the files go")
    given = parser.parse_args(argv)
    now = datetime.datetime.now(datetime.UTC)
    with tempfile.TemporaryDirectory(prefix="floodgate-large-calls-", dir=ROOT) as place:
        found = measure(given.calls, given.mib, Path(place))
    result = {
        "name": "small calls beside large ones",
        "date": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "commit": machine.commit(ROOT),
        "machine": machine.facts(),
        "found": found,
    }
    print(write(given.results, f"{now:%Y-%m-%d}-large-calls", result, as_page(result)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
