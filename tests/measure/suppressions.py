"""A million suppressions: `python -m tests.measure.suppressions --rows 1000000 [--results FOLDER]`.

It imports them into a node with one worker over REST, waits until the worker has all fingerprints, looks mail up
against them, exports them and removes them by a filter. Memory is that of the processes as the system tells it.
"""

import argparse
import asyncio
import contextlib
import datetime
import http.client
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil

from bench import machine
from bench.report import heading, machine_lines, write
from mta.model.suppressions import SuppressionKey, keys_for
from mta.policy.addresses import comparable
from mta.policy.fingerprints import fingerprint
from mta.suppressions.watch import SuppressionWatch
from tests.support.node import TOKEN, Node, running, until
from tests.support.suppressions import MemorySuppressions
from tests.support.valkey import Valkey

ROOT = Path(__file__).parents[2]
PATH = "/v1/suppressions"
NDJSON = "application/x-ndjson"
_AT_ONCE = 2000  # rows of a piece of the body
_KNOWN = "floodgate_suppressions_known"


def _body(rows: int) -> Iterator[bytes]:
    for base in range(0, rows, _AT_ONCE):
        lines = [
            b'{"address":"person.%d@domain%d.example","reason":"unsubscribe","topic":"news"}\n' % (one, one % 5000)
            for one in range(base, min(rows, base + _AT_ONCE))
        ]
        yield b"".join(lines)


class Api:
    """Plain HTTP to the node, and the process that serves it."""

    def __init__(self, node: Node) -> None:
        self._where = urlsplit(node.ready["api"])
        self._headers = {"Authorization": f"Bearer {TOKEN}"}
        children = psutil.Process(node.ready["pid"]).children(recursive=True)
        self.processes = {_name(one): one for one in children if _name(one)}

    def known(self) -> float:
        """The fingerprints of the worker."""
        lines = self.call("GET", "/metrics").decode().splitlines()
        return max((float(line.split()[-1]) for line in lines if line.startswith(_KNOWN)), default=0.0)

    def call(self, method: str, path: str, body: Any = None, kind: str = "") -> bytes:
        """The answer, of a long one the beginning."""
        connection = http.client.HTTPConnection(self._where.hostname or "", self._where.port, timeout=600)
        more = {"Content-Type": kind} if kind else {}
        connection.request(method, path, body, self._headers | more, encode_chunked=body is not None)
        answer = connection.getresponse()
        first = answer.read(1 << 20)
        while answer.read(1 << 20):
            pass
        assert answer.status in (200, 201), (answer.status, first)
        return first


def _name(process: psutil.Process) -> str:
    words = " ".join(process.cmdline())
    return next((name for name in ("runtime.worker", "control_api", "valkey") if name in words), "")


def _mb(process: psutil.Process) -> int:
    return int(process.memory_info().rss >> 20)


def _timed(work: Callable[[], object]) -> float:
    """Seconds."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


async def _lookups(rows: int, many: int) -> float:
    """Microseconds of the processor for a recipient with a tenant and a topic, none of whom is suppressed."""
    store = MemorySuppressions()
    watch = SuppressionWatch(store)
    await watch.look()
    watch._prints.add(fingerprint(SuppressionKey(f"person.{one}@x.example").name) for one in range(rows))
    watch._head = watch._head._replace(number=1)
    addresses = [f"other.{one}@domain{one % 100}.example" for one in range(many)]
    began = time.process_time()
    for address in addresses:
        watch.may_be(keys_for(comparable(address), address.rpartition("@")[2], "acme", "news"))
    return (time.process_time() - began) / many * 1e6


def measure(rows: int) -> dict[str, Any]:
    found: dict[str, Any] = {"rows": rows}

    def note(name: str, seconds: float) -> None:
        found[name] = {"seconds": round(seconds, 2), "rows_per_s": round(rows / seconds)}
        print(name, found[name], flush=True)

    with tempfile.TemporaryDirectory() as folder:
        valkey = Valkey(Path(folder) / "valkey")
        with contextlib.ExitStack() as stack:
            stack.enter_context(running(valkey))
            node = Node(Path(folder) / "n1", redis=valkey.url, workers=1)
            stack.enter_context(running(node))
            api = Api(node)
            worker, server = api.processes["runtime.worker"], api.processes["control_api"]
            before, used = (_mb(worker), _mb(server)), sum(server.cpu_times()[:2])
            note("import", _timed(lambda: api.call("POST", f"{PATH}/import?wait=0", _body(rows), NDJSON)))
            found["import_cpu_us"] = round((sum(server.cpu_times()[:2]) - used) / rows * 1e6, 1)
            found["known_after_s"] = round(_timed(lambda: until(lambda: api.known() >= rows, 120)), 2)
            for form in ("ndjson", "csv"):
                note(f"export_{form}", _timed(lambda form=form: api.call("GET", f"{PATH}/export?format={form}")))
            note("dry_run", _timed(lambda: api.call("DELETE", f"{PATH}?topic=news&dry_run=true")))
            found["mib"] = {"worker": [before[0], _mb(worker)], "api": [before[1], _mb(server)]}
            note("removal", _timed(lambda: api.call("DELETE", f"{PATH}?topic=news")))
    found["lookup_us"] = round(asyncio.run(_lookups(rows, 20_000)), 2)
    print(found)
    return found


def as_page(result: dict[str, Any]) -> str:
    found = result["found"]
    lines = [
        *heading(result),
        "",
        f"{found['rows']:,} rows; one node with one worker, and the client beside it.",
        "",
        "| work | seconds | rows a second |",
        "|---|---|---|",
    ]
    for name in [name for name in ("import", "export_ndjson", "export_csv", "dry_run", "removal") if name in found]:
        lines.append(f"| {name.replace('_', ' ')} | {found[name]['seconds']} | {found[name]['rows_per_s']:,} |")
    worker, api = found["mib"]["worker"], found["mib"]["api"]
    lines += [
        "",
        f"The import took {found['import_cpu_us']} us of the API's processor a row. The worker knew all rows "
        f"{found['known_after_s']} s after the answer.",
        f"Memory: worker {worker[0]} MiB before, {worker[1]} MiB after; API {api[0]} MiB before, {api[1]} MiB after.",
        f"A recipient with tenant and topic whom nothing meets costs a worker {found['lookup_us']} us.",
        "",
        *machine_lines(result),
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--results", type=Path)
    asked = parser.parse_args()
    found, now = measure(asked.rows), datetime.datetime.now(datetime.UTC)
    if asked.results:
        result = {
            "name": "suppressions",
            "date": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "commit": machine.commit(ROOT),
            "machine": machine.facts(),
            "found": found,
        }
        print(write(asked.results, f"{now:%Y-%m-%d}-suppressions", result, as_page(result)))


if __name__ == "__main__":
    main()
