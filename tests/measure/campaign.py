"""A campaign is canceled in the middle, stated, and exported by class: `python -m tests.measure.campaign`.

A node with an embedded store and a history begins to deliver N messages of one tag (`--messages`, a million in the
issue's run), while single messages of other mail come in at a pace of their own. When a share of the campaign has
arrived, a forced error ends the rest. Then the history catches up, and each class is exported as CSV and as NDJSON.
The measurement fails if the class delivered is not what the destination took, recipient by recipient, or if a recipient
of another class but `uncertain` got the mail.
"""

import argparse
import csv
import datetime
import http.client
import io
import json
import sys
import tempfile
import threading
import time
import urllib.parse
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import redis

from bench import machine
from bench.report import heading, machine_lines, write
from tests.support.deep_queue import fill
from tests.support.node import TOKEN, running, until
from tests.support.node_and_sink import NodeAndSink

ROOT = Path(__file__).parents[2]
DEFAULTS = {"delivery__lease": "60s", "rules__max_staleness": "5s", "delivery__retries": ["1m"]}
TAG, DOMAIN, OTHER = "campaign", "campaign.test", "other.test"
CLASSES = ("delivered", "intercepted", "bounced", "expired", "canceled", "queued", "held", "uncertain")
CAUGHT_UP = 120.0  # seconds within which the history must have followed
_PACE = 0.02  # seconds between messages of other mail


class OtherMail:
    """A message each 20 ms, and how many a second the destination took."""

    def __init__(self, place: NodeAndSink) -> None:
        self._place = place
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        with self._place.node.client() as client:
            number, began = 0, time.monotonic()
            while not self._stop.wait(max(0.0, began + number * _PACE - time.monotonic())):
                self._place.node.send_on(client, f"o{number}@{OTHER}", ("other",))
                number += 1

    def __enter__(self) -> "OtherMail":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def rate(self, since: float, until_: float) -> float:
        """Messages a second that came in between these times (Unix)."""
        taken = sum(since <= received.dot_at < until_ for received in self._place.sink.to(OTHER))
        return taken / (until_ - since)


class Peaks:
    """The most memory that each process of the node had, MiB, looked at twice a second."""

    def __init__(self, pid: int) -> None:
        self._top = psutil.Process(pid)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.mib: Counter[str] = Counter()

    def _run(self) -> None:
        while not self._stop.wait(0.5):
            for process in (self._top, *self._top.children(recursive=True)):
                try:
                    words, used = " ".join(process.cmdline()).split(), process.memory_info().rss >> 20
                except psutil.NoSuchProcess:
                    continue
                name = next((word for word in reversed(words) if word.startswith(("mta.", "control_api"))), "")
                name = name or (Path(words[0]).name if words else "")
                self.mib[name] = max(self.mib[name], used)

    def __enter__(self) -> "Peaks":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def stream(place: NodeAndSink, path: str) -> Iterator[str]:
    """The lines of an answer as they come."""
    where = urllib.parse.urlsplit(place.api)
    connection = http.client.HTTPConnection(str(where.hostname), where.port, timeout=120)
    try:
        connection.request("GET", path, headers={"Authorization": f"Bearer {TOKEN}"})
        answer = connection.getresponse()
        assert answer.status == 200, answer.read()
        yield from io.TextIOWrapper(answer, "utf-8", newline="")
    finally:
        connection.close()


def exported(place: NodeAndSink, name: str) -> tuple[set[str], dict[str, float]]:
    """The recipients of a class as CSV has them, and rows a second of both forms, which must agree."""
    found: dict[str, list[str]] = {}
    rates = {}
    for form in ("csv", "ndjson"):
        began = time.perf_counter()
        lines = stream(place, f"/v1/tags/{TAG}/deliveries?class={name}&format={form}")
        rows = csv.DictReader(lines) if form == "csv" else map(json.loads, lines)
        found[form] = [row["recipient"] for row in rows]
        rates[form] = len(found[form]) / (time.perf_counter() - began)
    assert sorted(found["csv"]) == sorted(found["ndjson"]), f"{name}: CSV and NDJSON differ"
    assert len(set(found["csv"])) == len(found["csv"]), f"{name}: a recipient stands there twice"
    return set(found["csv"]), rates


def caught_up(place: NodeAndSink, since: float) -> float:
    """Seconds until the history has every event up to the time `since` (Unix)."""

    def look() -> bool:
        said = place.call("GET", f"/v1/messages?tag={TAG}&limit=1")
        return datetime.datetime.fromisoformat(said["as_of"]).timestamp() >= since

    seldom(look, CAUGHT_UP, "the history has not caught up")
    return time.time() - since


def seldom(holds: Callable[[], Any], timeout: float, what: str) -> None:
    """As `until`, four times a second: the questions are no load beside what is measured."""

    def look() -> Any:
        return holds() or time.sleep(0.23)

    until(look, timeout, what)


def measure(messages: int, share: float) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        place = NodeAndSink(Path(folder), embedded=True, **DEFAULTS)
        with running(place):
            assert place.node.process is not None
            with Peaks(place.node.process.pid) as peaks, OtherMail(place) as other:
                time.sleep(6.0)
                alone = other.rate(time.time() - 5.0, time.time())
                found = _campaign(place, messages, share, other)
                assert place.node.process.poll() is None
            return found | {
                "other_alone": alone,
                "mib": dict(peaks.mib),
                "history_mib": size_of(Path(folder) / "n1" / "history"),
                "log_mib": size_of(Path(folder) / "n1" / "log"),
            }


def _campaign(place: NodeAndSink, messages: int, share: float, other: OtherMail) -> dict[str, Any]:
    redis = place.node.ready["redis"]
    began = time.time()
    fill(redis, DOMAIN, messages, TAG)
    filled = time.time() - began
    before = len(place.sink.to(OTHER))
    until(lambda: len(place.sink.sink.received) >= before + messages * share, 3600.0)
    ordered = time.time()
    rule = place.call("POST", "/v1/errors?wait=60s", {"code": 554, "tag": TAG, "reason": "measured"})
    assert rule["effective"]
    effective = time.time() - ordered
    seldom(lambda: place.account(rule)["complete"], 3600.0, "the sweep is not done")
    swept = time.time()
    follows = caught_up(place, swept)
    time.sleep(1.0)
    rate = other.rate(ordered, time.time() - 1.0)  # what came in then has arrived by now
    statement, tag = place.account(rule), place.node.statement(TAG)
    assert statement["balanced"], statement
    assert tag["balanced"], tag
    classes = {name: exported(place, name) for name in CLASSES}
    check(place, {name: recipients for name, (recipients, _) in classes.items()}, messages)
    return {
        "messages": messages,
        "fill_s": filled,
        "effective_ms": 1000 * effective,
        "past_dot": len(rule["past_dot"]),
        "swept_s": swept - ordered,
        "history_behind_s": follows,
        "classes": {name: len(recipients) for name, (recipients, _) in classes.items()},
        "rows_a_second": {name: rates for name, (recipients, rates) in classes.items() if len(recipients) > 1000},
        "other_beside": rate,
        "statement": {"intercepted": sum(statement["intercepted"].values()), "delivered": statement["delivered"]},
        "redis_mib": int(info(redis)["used_memory_peak"]) / 2**20,
    }


def check(place: NodeAndSink, classes: dict[str, set[str]], messages: int) -> None:
    """Class delivered is what the destination took, and no other class but `uncertain` stands there."""
    arrived = place.arrived(DOMAIN)
    took = set(arrived)
    assert classes["delivered"] <= took, "the history has more than the destination took"
    assert took - classes["delivered"] <= classes["uncertain"], "the destination took more than the history has"
    assert len(arrived) - len(took) <= len(classes["uncertain"]), "some came twice"
    ended = [name for name in CLASSES if name != "uncertain"]
    assert sum(len(classes[name]) for name in ended) == messages, {name: len(classes[name]) for name in ended}
    for name in ended[1:]:
        assert took & classes[name] <= classes["uncertain"], name


def info(url: str) -> dict[str, str]:
    """INFO of the server."""

    with redis.Redis.from_url(url) as client:
        found: dict[str, str] = client.info("memory")
    return found


def size_of(folder: Path) -> float:
    """MiB of the files there."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 2**20


def as_page(result: dict[str, Any]) -> str:
    """The result for people."""
    found = result["found"]
    rows = [
        ("messages", f"{found['messages']:,}"),
        ("order to effective, ms", f"{found['effective_ms']:.0f}"),
        ("past their dot then", f"{found['past_dot']}"),
        ("order to the end of the sweep, s", f"{found['swept_s']:.1f}"),
        ("history caught up after that, s", f"{found['history_behind_s']:.1f}"),
        (
            "other mail, messages/s: alone, from the order until then",
            f"{found['other_alone']:.1f}, {found['other_beside']:.1f}",
        ),
        *((f"class {name}, recipients", f"{many:,}") for name, many in found["classes"].items() if many),
        *(
            (f"export of {name}, rows/s: CSV, NDJSON", f"{rates['csv']:,.0f}, {rates['ndjson']:,.0f}")
            for name, rates in found["rows_a_second"].items()
        ),
        ("memory of the store at most, MiB", f"{found['redis_mib']:.0f}"),
        *((f"MiB of {name} at most", f"{mib}") for name, mib in found["mib"].items()),
        ("history, MiB on disk", f"{found['history_mib']:.0f}"),
        ("log, MiB on disk", f"{found['log_mib']:.0f}"),
    ]
    lines = [*heading(result), "", "| figure | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows), ""]
    lines += [
        "Class delivered was what the destination took, recipient by recipient; of the other classes only `uncertain` "
        "may be there.",
        "",
        "## How it was measured",
        "",
        "One node of two workers, store embedded, history in SQLite; the destination and the measurement run beside "
        "it. Other mail comes at 50 messages a second.",
        "",
        *machine_lines(result),
    ]
    return "\n".join(lines) + "\n"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.measure.campaign", description="A canceled campaign.")
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--share", type=float, default=0.1, help="of it that arrives before the order")
    parser.add_argument("--results", type=Path, default=ROOT / "tests" / "results", help="where the files go")
    given = parser.parse_args(argv)
    now = datetime.datetime.now(datetime.UTC)
    result = {
        "name": "a canceled campaign",
        "date": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "commit": machine.commit(ROOT),
        "machine": machine.facts(),
        "found": measure(given.messages, given.share),
    }
    print(write(given.results, f"{now:%Y-%m-%d}-campaign", result, as_page(result)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
