"""The cost and the lag of webhooks: `python -m tests.measure.webhooks [--seconds N]`.

First the processor time of an event beside its HTTP request: a process serves one endpoint out of a history in files,
and its requests are answered at once, without HTTP. Then the same with HTTP to a receiver on loopback. Then a node:
with 500 messages/s and one event a request, and at half of the maximum rate with a hundred, an event's lag is the time
from its change to the receiver's reading of it. There a slow, a dead, a redirecting endpoint, one that answers garbage
and one whose name means an address inside at every other look stand beside the live one. The last one is told of every
change, and its name means its receiver again when the mail has gone: nothing is lost, nothing is out of order and
nothing reached the address inside. The rate of mail is measured with and without these endpoints, by turns.
"""

import argparse
import asyncio
import contextlib
import datetime
import functools
import json
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import orjson
import uvloop

from bench import machine
from bench.processes import Node, Sink
from bench.ranks import percentiles
from bench.report import heading, machine_lines, write
from bench.rig import stopping
from mta.history.files import SqliteFiles
from mta.history.reader import HistoryReader
from mta.history.webhook_tables import sqlite_state
from mta.http_out.webhook_post import WebhookPoster
from mta.model.webhooks import Endpoint, WebhookEvent
from mta.ports.history import BEGINNING
from mta.ports.webhooks import PostAnswer
from mta.runtime.collector import collect_from_now_on
from mta.webhooks.webhooks import Webhooks
from tests.measure.history import fill
from tests.support.dkim_keys import OpenSeal
from tests.support.dns_thread import DnsThread
from tests.support.webhooks import Endpoints

ROOT: Final = Path(__file__).parents[2]
SIZE: Final = 4096
STEADY: Final = 500.0  # messages/s
GOAL_US, GOAL_LAG, GOAL_KEPT, GOAL_REQUESTS = 20.0, 2.0, 0.97, 1000
SETTINGS: Final = ("webhooks.allow_networks=127.0.0.1/32", "webhooks.timeout=2s")
NAME, OUTSIDE, INSIDE = "hooks.test", "127.0.0.1", "127.77.0.2"  # of the receiver that rebinds
REFUSED: Final = "the name has no address in webhooks.allow_networks"


# The processor time of an event


class Answered:
    """Fulfils ports.webhooks.Poster: every request is a success at once."""

    def __init__(self) -> None:
        self.requests = 0
        self.bytes = 0

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> PostAnswer:
        self.requests += 1
        self.bytes += len(body)
        return PostAnswer(200)

    async def close(self) -> None:
        pass


async def _serve(folder: str, deliveries: int, batch: int, url: str = "") -> dict[str, float]:
    """Every delivery's end is told once. Without a URL no request is sent."""
    posts, store = Answered(), Endpoints()
    poster = WebhookPoster(["127.0.0.0/8"], 5.0) if url else posts
    state = sqlite_state(f"{folder}/webhooks-{batch}{'-http' if url else ''}")
    history = HistoryReader(SqliteFiles(folder))
    state.open()
    await history.events(BEGINNING, 1)  # all modules are imported then
    collect_from_now_on()  # as in a process of its own
    webhooks = Webhooks(store, state, history, poster, OpenSeal(), "n1")
    endpoint = Endpoint(
        id="wh_1", url=url or "https://a.test", secret=b"s" * 32, events=(WebhookEvent.MESSAGE_UPDATED,), batch=batch
    )
    await store.edit("wh_1", lambda known: endpoint)
    begun, cpu = time.monotonic(), time.process_time()
    task = asyncio.create_task(webhooks.run())
    while True:
        await asyncio.sleep(0.05)
        told = store.told.get("wh_1")
        if told is not None and told.sent >= deliveries:
            break
    spent, lasted = time.process_time() - cpu, time.monotonic() - begun
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await webhooks.stop()
    await poster.close()
    if url:
        return {"requests_a_second": round(deliveries / lasted), "us_a_request": round(spent / deliveries * 1e6, 1)}
    return {
        "us_an_event": round(spent / deliveries * 1e6, 2),
        "events_a_second": round(deliveries / lasted),
        "bytes_an_event": round(posts.bytes / deliveries),
    }


def cost(deliveries: int) -> dict[str, Any]:
    """By the size of a batch."""
    with tempfile.TemporaryDirectory(prefix="floodgate-webhooks-", dir=ROOT) as folder:
        fill(folder, deliveries, 1)
        found: dict[str, Any] = {str(batch): uvloop.run(_serve(folder, deliveries, batch)) for batch in (1, 100)}
        with receiver("live", Path(folder) / "lags") as url:
            found["http"] = uvloop.run(_serve(folder, deliveries, 1, url))
        return found


# Receivers


class Told:
    """The events that a receiver has read."""

    def __init__(self) -> None:
        self.lags: list[float] = []
        self.disorder = 0  # events behind a later one of their delivery
        self.inside = 0  # connections to the address inside
        self._seqs: dict[str, int] = {}
        self._ended: set[str] = set()

    def note(self, body: bytes) -> None:
        now, found = time.time(), orjson.loads(body)
        for event in found["data"] if found["type"] == "batch" else [found]:
            moment, record = datetime.datetime.fromisoformat(event["timestamp"]), event["data"]
            self.lags.append(now - moment.timestamp())
            self.disorder += record["seq"] < self._seqs.get(record["id"], 0)
            self._seqs[record["id"]] = record["seq"]
            if record["status"] != "ENQUEUED":
                self._ended.add(record["id"])

    def told(self) -> dict[str, Any]:
        return {"lags": self.lags, "ended": len(self._ended), "disorder": self.disorder, "inside": self.inside}


async def _receive(kind: str, file: Path) -> None:
    """Answers as its kind says until its standard input ends; then writes what it was told."""
    told = Told()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while not writer.is_closing():
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
                body = await reader.readexactly(length)
                if kind == "slow":
                    await asyncio.sleep(5.0)
                if kind in ("live", "rebinding"):
                    told.note(body)
                writer.write(_ANSWERS[kind])
                if kind == "rebinding":
                    writer.close()
        writer.close()

    async def trespass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        told.inside += 1
        writer.close()

    server = await asyncio.start_server(serve, OUTSIDE, 0)
    port = server.sockets[0].getsockname()[1]
    inside = await asyncio.start_server(trespass, INSIDE, port)
    print(port, flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await asyncio.to_thread(file.write_text, json.dumps(told.told()))
    inside.close()


_ANSWERS: Final = {
    "live": b"HTTP/1.1 204 No Content\r\n\r\n",
    "slow": b"HTTP/1.1 204 No Content\r\n\r\n",
    "redirecting": b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n",
    "garbage": b"\0\1\2 garbage \r\n\r\n",
    "rebinding": b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n",
}


@contextlib.contextmanager
def receiver(kind: str, file: Path) -> Iterator[str]:
    """Its URL."""
    command = [sys.executable, "-m", "tests.measure.webhooks", "--receive", kind, str(file)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield f"http://{NAME if kind == 'rebinding' else OUTSIDE}:{process.stdout.readline().strip()}/"
    finally:
        process.stdin.close()
        process.wait(20)


# A node


def call(node: Node, method: str, path: str, body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(node.api + path, data, method=method)
    request.add_header("Authorization", f"Bearer {node.token}")
    request.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.loads(answer.read())


def _has_all(node: Node, path: str) -> bool:
    return not call(node, "GET", path)["backlog"]


def _until(found: Callable[[], bool], words: str) -> None:
    deadline = time.monotonic() + 200.0  # the third retry of a request comes after two and a half minutes
    while not found():
        assert time.monotonic() < deadline, words
        time.sleep(0.1)


@contextlib.contextmanager
def endpoints(node: Node, dns: DnsThread, place: Path, batch: int, messages: int) -> Iterator[list[float]]:
    """A live one beside five bad ones, once they are served; the lags of the live one are there at the end."""
    dns.stub.a_by_turns(NAME, OUTSIDE, INSIDE)
    kinds, lags = ("live", "rebinding", "slow", "redirecting", "garbage"), list[float]()
    files = {kind: place / f"{kind}-{time.monotonic_ns()}" for kind in kinds}
    with contextlib.ExitStack() as stack:
        urls = {kind: stack.enter_context(receiver(kind, files[kind])) for kind in kinds}
        made = {}
        for kind, url in (urls | {"dead": "http://127.0.0.1:9/"}).items():
            terms = {"url": url, "batch": batch, "when": "every" if kind == "rebinding" else "final"}
            made[kind] = f"/v1/webhooks/{call(node, 'POST', '/v1/webhooks', terms)['id']}"
        _until(lambda: all(call(node, "GET", one).get("node") for one in made.values()), "an endpoint is not served")
        yield lags
        time.sleep(2.5)  # history follows, and the figures of endpoints are told each second
        assert call(node, "GET", made["rebinding"])["last_failure_reason"].startswith(REFUSED)
        dns.stub.a(NAME, OUTSIDE, ttl=0)
        for kind in ("live", "rebinding"):
            _until(functools.partial(_has_all, node, made[kind]), f"{kind} is not told everything")
        for path in made.values():
            call(node, "DELETE", path)
    for kind in ("live", "rebinding"):
        told = json.loads(files[kind].read_text())
        assert (told["ended"], told["disorder"], told["inside"]) == (messages, 0, 0), (kind, told["ended"], messages)
        if kind == "live":
            lags += told["lags"]


def relayed(node: Node, sink: Sink, messages: int, rate: float = 0.0) -> float:
    """Messages a second that arrived."""
    sink.account()
    command = [sys.executable, "-m", "bench.source", "--target", node.smtp, "--messages", str(messages)]
    command += ["--size", str(SIZE), *(["--rate", f"{rate:.1f}"] if rate else [])]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=ROOT)
    deadline = time.monotonic() + 60.0
    while sink.stats()["receipts"] < messages:
        assert time.monotonic() < deadline, "mail does not arrive"
        time.sleep(0.05)
    account = sink.account()
    return float(messages / (account["last"] - account["first"]))


def measure(seconds: float, pairs: int, place: Path) -> dict[str, Any]:
    """The figures of a node."""
    with contextlib.ExitStack() as stack:
        sink = stack.enter_context(stopping(Sink(place / "sink.log")))
        dns = DnsThread().start()
        stack.callback(dns.stop)
        sets = [*SETTINGS, f'delivery.dns_servers=["{dns.stub.address}"]']
        node = stack.enter_context(stopping(Node(place / "data", 2, sink.address, place / "node.log", sets)))
        relayed(node, sink, 5_000)
        most = relayed(node, sink, int(3 * seconds * 500))
        found: dict[str, Any] = {"maximum": round(most)}
        kept: list[float] = []
        for name, batch, rate, many in (("steady", 1, STEADY, 1), ("half", 100, most / 2, pairs)):
            messages, lags = int(seconds * rate), list[float]()
            for _ in range(many):
                without = relayed(node, sink, messages, rate) if name == "half" else 0.0
                with endpoints(node, dns, place, batch, messages) as told:
                    beside = relayed(node, sink, messages, rate)
                if without:
                    kept.append(beside / without)
                lags += told
            seconds_by_rank = percentiles(sorted(lags), 1)
            found[name] = {"rate": round(rate), "batch": batch, "events": len(lags), "seconds": seconds_by_rank}
        found["kept"] = {"median": round(statistics.median(kept), 3), "pairs": [round(one, 3) for one in kept]}
    return found


def as_page(result: dict[str, Any]) -> str:
    """The result for people."""
    cpu, node = {batch: one for batch, one in result["cost"].items() if batch != "http"}, result["node"]
    http = result["cost"]["http"]
    rows = [
        (f"us of CPU an event beside its request, batch {batch}", f"{one['us_an_event']}") for batch, one in cpu.items()
    ]
    rows += [(f"events/s of one process without HTTP, batch {batch}", f"{one['events_a_second']:,}")
             for batch, one in cpu.items()]  # fmt: skip
    rows.append(("requests/s of one process over HTTP, batch 1", f"{http['requests_a_second']:,}"))
    rows.append(("us of CPU a request over HTTP, batch 1", f"{http['us_a_request']}"))
    rows.append(("maximum rate of mail, messages/s", f"{node['maximum']:,}"))
    for name, words in (("steady", "a steady rate"), ("half", "half of the maximum")):
        one = node[name]
        rows.append((f"{words}: {one['rate']:,} messages/s, batch {one['batch']}; events told", f"{one['events']:,}"))
        rows += [(f"{words}: lag in s, {rank}", f"{value}") for rank, value in one["seconds"].items()]
    rows.append(
        ("part of its rate that mail keeps beside the endpoints, at half of the maximum", f"{node['kept']['median']}")
    )
    lines = [*heading(result), "", "| figure | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows), ""]
    lines += [
        "## How it was measured",
        "",
        "The cost is the processor time of a whole webhooks process that reads a history of "
        f"{result['deliveries']:,} deliveries in files and tells how each has ended, with requests that are answered "
        "without HTTP. With a batch of 1 it has the signature and the bookkeeping of a request for each event. "
        "Requests over HTTP go to a receiver on loopback, a process of its own that decodes each body. The node has "
        "two workers; source, destination and receivers run beside it. The live endpoint "
        "stands beside one that takes 5 s, one whose port is closed, one that redirects, one that answers garbage, and "
        "one whose name means its receiver and an address inside by turns. The last one is told of every change and "
        "closes each connection. When the mail of a leg has gone, its name means its receiver. Then both it and the "
        "live one have had the end of every delivery, no event came behind a later one of its delivery, and the "
        "address inside had no connection; otherwise there is no result. "
        "A lag is the time from a change to its reading by the receiver, events of acceptance left out. The part that "
        f"mail keeps is the median of {len(node['kept']['pairs'])} pairs of legs by turns: "
        f"{', '.join(map(str, node['kept']['pairs']))}.",
        "",
        *machine_lines(result),
    ]
    return "\n".join(lines) + "\n"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.measure.webhooks", description="Webhooks: cost and lag.")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each leg")
    parser.add_argument("--pairs", type=int, default=3, help="of legs with and without endpoints")
    parser.add_argument("--deliveries", type=int, default=100_000, help="of the history by which the cost is measured")
    parser.add_argument("--only-cost", action="store_true", help="measure and print the processor time alone")
    parser.add_argument("--results", type=Path, default=ROOT / "tests" / "results", help="where the files go")
    parser.add_argument("--receive", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args(argv)
    if given.receive:
        kind, told = given.receive
        uvloop.run(_receive(kind, Path(told)))
        return 0
    now, found = datetime.datetime.now(datetime.UTC), cost(given.deliveries)
    if given.only_cost:
        print(json.dumps(found))
        return 0
    with tempfile.TemporaryDirectory(prefix="floodgate-webhooks-", dir=ROOT) as place:
        node = measure(given.seconds, given.pairs, Path(place))
    result = {
        "name": "webhooks",
        "date": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "commit": machine.commit(ROOT),
        "machine": machine.facts(),
        "deliveries": given.deliveries,
        "cost": found,
        "node": node,
    }
    print(write(given.results, f"{now:%Y-%m-%d}-webhooks", result, as_page(result)))
    lags = [max(node[name]["seconds"].values()) for name in ("steady", "half")]
    cheap = max(found[batch]["us_an_event"] for batch in ("1", "100")) < GOAL_US
    good = cheap and found["http"]["requests_a_second"] >= GOAL_REQUESTS and max(lags) < GOAL_LAG
    return 0 if good and node["kept"]["median"] >= GOAL_KEPT else 1


if __name__ == "__main__":
    sys.exit(main())
