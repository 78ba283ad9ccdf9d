"""100,000 forced errors on a live node: made in bulk, listed, added to, read again by a restarted node, and lifted.

`python -m tests.measure.rules [--rules N]` starts a node with an embedded store, and a destination. Sets of 10,000
rules go to the API one after the other; each call waits until its set is effective. Meanwhile single messages are
accepted and delivered, so that the page says how long mail waited at most beside all this.
"""

import argparse
import datetime
import json
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from bench import machine
from bench.report import heading, machine_lines, write
from bench.rule_mix import rule
from tests.support.node import running, until
from tests.support.node_and_sink import NodeAndSink
from tests.support.rest import ask

ROOT = Path(__file__).parents[2]
DEFAULTS = {"delivery__lease": "60s", "rules__max_staleness": "5s", "delivery__retries": ["1m"]}
SET = 10_000
_PAGE = 1000


class Mail:
    """One message after the other to a domain that no rule names; seconds from MAIL to the destination's answer."""

    def __init__(self, place: NodeAndSink) -> None:
        self._place = place
        self._stop = threading.Event()
        self.waits: list[float] = []
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        number = 0
        while not self._stop.is_set():
            domain = f"single{number}.test"
            began = time.time()
            self._place.node.send(f"u@{domain}", ("single",))
            until(lambda domain=domain: self._place.sink.to(domain), 60.0)
            self.waits.append(time.time() - began)
            number += 1
            time.sleep(0.05)

    @contextmanager
    def running(self) -> Iterator[None]:
        self._thread.start()
        try:
            yield
        finally:
            self._stop.set()
            self._thread.join()


def call(place: NodeAndSink, method: str, path: str, body: Any = None) -> Any:
    raw = None if body is None else json.dumps(body).encode()
    answer = ask(place.api, method, path, raw)
    assert answer.status in (200, 201), (answer.status, answer.body)
    return answer


def timed(act: Any) -> tuple[float, Any]:
    began = time.perf_counter()
    found = act()
    return time.perf_counter() - began, found


def sets(place: NodeAndSink, rules: int, done: int = 0) -> tuple[list[float], list[str]]:
    """Seconds of each call, and the ids of the rules."""
    seconds, ids = [], []
    for at in range(done, rules, SET):
        create = [rule(number) for number in range(at, min(at + SET, rules))]
        spent, answer = timed(lambda create=create: call(place, "POST", "/v1/errors/bulk?wait=60s", {"create": create}))
        assert answer.body["effective"], answer.body["workers"]
        seconds.append(spent)
        ids += answer.body["rules"]
        print(f"{len(ids):,} rules, {spent:.2f} s", file=sys.stderr, flush=True)
    return seconds, ids


def listed(place: NodeAndSink) -> list[float]:
    """Seconds of each page."""
    path, seconds = f"/v1/errors?limit={_PAGE}", []
    while path:
        spent, answer = timed(lambda path=path: call(place, "GET", path))
        seconds.append(spent)
        path = answer.headers.get("Link", "").partition("<")[2].partition(">")[0]
    return seconds


def singles(place: NodeAndSink, many: int) -> list[float]:
    """Seconds until one more rule that matches nothing is effective."""
    found = []
    for number in range(many):
        spent, answer = timed(
            lambda number=number: call(place, "POST", "/v1/errors?wait=60s", {"code": 554, "tag": f"one-{number}"})
        )
        assert answer.body["effective"]
        found.append(spent)
        call(place, "DELETE", f"/v1/errors/{answer.body['id']}?wait=60s")
    return found


def memory(place: NodeAndSink) -> dict[str, int]:
    """MiB that each process of the node has in memory, by its program."""
    found: dict[str, int] = {}
    assert place.node.process is not None
    top = psutil.Process(place.node.process.pid)
    for process in (top, *top.children(recursive=True)):
        words = " ".join(process.cmdline()).split()
        name = next((w for w in reversed(words) if w.startswith(("mta.", "control_api"))), Path(words[0]).name)
        found[name] = max(found.get(name, 0), process.memory_info().rss >> 20)
    return found


def restarted(place: NodeAndSink) -> dict[str, float]:
    """Seconds from the start of the node to its ready line, to an order that is effective, and to a delivery."""
    place.node.stop()
    began = time.perf_counter()
    place.node.start()
    ready = time.perf_counter() - began
    singles(place, 1)
    ordered = time.perf_counter() - began
    place.node.send("a@again.test", ("again",))
    until(lambda: place.arrived("again.test"), 60.0)
    return {"ready": ready, "order effective": ordered, "delivered": time.perf_counter() - began}


def measure(rules: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        place = NodeAndSink(Path(folder), embedded=True, rules__max_rules=rules + 10, **DEFAULTS)
        with running(place):
            before, empty = memory(place), restarted(place)
            mail = Mail(place)
            with mail.running():
                seconds, ids = sets(place, rules)
                pages, orders = listed(place), singles(place, 20)
            found: dict[str, Any] = {
                "rules": rules,
                "make_s": sum(seconds),
                "call_s": spread(seconds),
                "page_ms": spread([1000 * one for one in pages]),
                "list_s": sum(pages),
                "order_ms": spread([1000 * one for one in orders]),
                "mail_ms": spread([1000 * one for one in mail.waits]),
                "mib_before": before,
                "mib": memory(place),
                "restart_empty_s": empty,
                "restart_s": restarted(place),
            }
            gone = [
                timed(lambda at=at: call(place, "POST", "/v1/errors/bulk?wait=60s", {"remove": ids[at : at + SET]}))[0]
                for at in range(0, rules, SET)
            ]
            return found | {"lift_s": sum(gone)}


def spread(values: list[float]) -> dict[str, float]:
    """Median and largest."""
    return {"median": statistics.median(values), "max": max(values)}


def as_page(result: dict[str, Any]) -> str:
    """The result for people."""
    found = result["found"]
    rows = [
        (f"{found['rules']:,} rules made and effective, s", f"{found['make_s']:.1f}"),
        ("one call of 10,000, s (median, largest)", _two(found["call_s"], 2)),
        (f"the list, {_PAGE:,} rules a page, s", f"{found['list_s']:.1f}"),
        ("one page, ms (median, largest)", _two(found["page_ms"], 0)),
        ("one rule more effective, ms (median, largest)", _two(found["order_ms"], 0)),
        ("one message beside all this, ms (median, largest)", _two(found["mail_ms"], 0)),
        *(
            (f"node started again: {name}, s (without rules)", f"{seconds:.1f} ({found['restart_empty_s'][name]:.1f})")
            for name, seconds in found["restart_s"].items()
        ),
        ("all lifted again, s", f"{found['lift_s']:.1f}"),
        *(
            (f"MiB of {name}, before", f"{mib} ({found['mib_before'].get(name, 0)})")
            for name, mib in found["mib"].items()
        ),
    ]
    lines = [*heading(result), "", "| figure | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows), ""]
    lines += [
        "## How it was measured",
        "",
        "Rules a fifth each by tag, by tag and domain, by pool and domain, by wildcard domain, and by two tags, as in "
        "`bench rules`; none matches the mail. Store embedded, `appendfsync always`.",
        "",
        *machine_lines(result),
    ]
    return "\n".join(lines) + "\n"


def _two(found: dict[str, float], digits: int) -> str:
    return f"{found['median']:,.{digits}f}, {found['max']:,.{digits}f}"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.measure.rules", description="Measure 100,000 rules.")
    parser.add_argument("--rules", type=int, default=100_000)
    parser.add_argument("--results", type=Path, default=ROOT / "tests" / "results", help="where the files go")
    given = parser.parse_args(argv)
    now = datetime.datetime.now(datetime.UTC)
    result = {
        "name": "rules in bulk",
        "date": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "commit": machine.commit(ROOT),
        "machine": machine.facts(),
        "found": measure(given.rules),
    }
    print(write(given.results, f"{now:%Y-%m-%d}-rules", result, as_page(result)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
