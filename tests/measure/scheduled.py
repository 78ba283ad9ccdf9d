"""The lateness of scheduled mail at half of the maximum rate: `python -m tests.measure.scheduled [--seconds N]`.

A node relays mail at its maximum rate first, then at half of it while each message is scheduled for some seconds after
it is handed in, to the millisecond, so that as much comes in as is due. The benchmark's destination says when each
message arrived; it has the clock of the source. The measurement fails where one was early, or a second late.
"""

import argparse
import array
import datetime
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import uvloop

from bench import machine
from bench.instants import between, read_instants, write_instants
from bench.plan import Plan
from bench.processes import Node, Sink
from bench.ranks import percentiles
from bench.report import heading, machine_lines, write
from bench.rig import stopping
from bench.source import run
from bench.tally import Tally

ROOT: Final = Path(__file__).parents[2]
DELAY: Final = 4.0  # seconds for which a message waits
SIZE: Final = 4096
DOMAINS: Final = 5
SESSIONS: Final = 40
LATEST: Final = 1.0


class ScheduledPlan(Plan):
    """Each message is due DELAY seconds after its content is made."""

    def __init__(self, messages: int) -> None:
        self.due_at = array.array("d", bytes(8 * messages))
        super().__init__(messages, [SIZE], DOMAINS)

    def _head(self, number: int, now_us: int) -> bytes:
        due = (now_us // 1000 + int(DELAY * 1000)) / 1000
        if self.due_at:
            self.due_at[number] = due
        moment = datetime.datetime.fromtimestamp(due, datetime.UTC).isoformat("T", "milliseconds")
        return f"X-MQ-Delayed: {moment}\r\n".encode() + super()._head(number, now_us)


def source(target: str, messages: int, rate: float, due_at: Path) -> int:
    """The load, in a process of its own; writes when each message is due."""
    host, _, port = target.rpartition(":")
    plan = ScheduledPlan(messages)
    tally = Tally(plan, SESSIONS, rate)
    uvloop.run(run([(host, int(port))], tally, SESSIONS))
    write_instants(due_at, plan.due_at)
    result = tally.result()
    print(json.dumps(result), flush=True)
    return 0 if result["failed"] == 0 else 1


def maximum(node: Node, sink: Sink, messages: int) -> float:
    """Messages a second that the node relays at once."""
    sink.account()
    command = [sys.executable, "-m", "bench.source", "--target", node.smtp, "--messages", str(messages)]
    subprocess.run([*command, "--size", str(SIZE)], check=True, stdout=subprocess.DEVNULL)
    received(sink, messages)
    account = sink.account()
    return float(messages / (account["last"] - account["first"]))


def received(sink: Sink, messages: int) -> None:
    """Return once the destination has them all."""
    deadline = time.monotonic() + 60.0
    while sink.stats()["receipts"] < messages:
        assert time.monotonic() < deadline, "mail does not arrive"
        time.sleep(0.1)


def measure(seconds: float, place: Path) -> dict[str, Any]:
    """The figures of one run."""
    with (
        stopping(Sink(place / "sink.log")) as sink,
        stopping(Node(place / "data", 2, sink.address, place / "node.log", [])) as node,
    ):
        most = maximum(node, sink, 20_000)
        messages = int(seconds * most / 2)
        due_at, received_at = place / "due", place / "received"
        command = [sys.executable, "-m", "tests.measure.scheduled", "--source", node.smtp, str(messages)]
        subprocess.run([*command, f"{most / 2:.1f}", str(due_at)], check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
        received(sink, messages)
        sink.account(received_at)
        late = sorted(between(read_instants(due_at), read_instants(received_at)))
    assert len(late) == messages, "some message did not arrive"
    return {
        "maximum": round(most),
        "rate": round(most / 2),
        "messages": messages,
        "early": sum(one < 0 for one in late),
        "earliest_ms": round(late[0] * 1000, 2),
        "late_ms": percentiles(late, 1000),
        "latest_ms": round(late[-1] * 1000, 2),
    }


def as_page(result: dict[str, Any]) -> str:
    """The result for people."""
    found = result["found"]
    rows = [
        ("maximum rate, messages/s", f"{found['maximum']:,}"),
        ("rate at which scheduled mail came in and was due, messages/s", f"{found['rate']:,}"),
        ("messages", f"{found['messages']:,}"),
        ("early", f"{found['early']}"),
        ("ms late: least", f"{found['earliest_ms']}"),
        *((f"ms late: {name}", f"{value}") for name, value in found["late_ms"].items()),
    ]
    lines = [*heading(result), "", "| figure | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows), ""]
    lines += [
        "## How it was measured",
        "",
        f"One node of two workers with the defaults, store embedded; source and destination run beside it. Each "
        f"message of {SIZE} bytes was due {DELAY:g} s after it was handed in. A message is received when its final dot "
        "came to the destination.",
        "",
        *machine_lines(result),
    ]
    return "\n".join(lines) + "\n"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.measure.scheduled", description="Lateness of mail.")
    parser.add_argument("--seconds", type=float, default=20.0, help="for which scheduled mail comes in")
    parser.add_argument("--results", type=Path, default=ROOT / "tests" / "results", help="where the files go")
    parser.add_argument("--source", nargs=4, help=argparse.SUPPRESS)
    given = parser.parse_args(argv)
    if given.source:
        target, messages, rate, due_at = given.source
        return source(target, int(messages), float(rate), Path(due_at))
    now = datetime.datetime.now(datetime.UTC)
    with tempfile.TemporaryDirectory(prefix="floodgate-scheduled-", dir=ROOT) as place:
        found = measure(given.seconds, Path(place))
    result = {
        "name": "scheduled mail",
        "date": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "commit": machine.commit(ROOT),
        "machine": machine.facts(),
        "found": found,
    }
    print(write(given.results, f"{now:%Y-%m-%d}-scheduled", result, as_page(result)))
    return 0 if not found["early"] and found["latest_ms"] <= LATEST * 1000 else 1


if __name__ == "__main__":
    sys.exit(main())
