"""Reading a large history in files: `python -m tests.measure.history --deliveries 1000000 --days 30`.

It fills a history as a journal would, in rounds of 5,000 deliveries, and then reads it with the reader and the makers
of lines that the API uses: the first page of several lists, and exports. Times are of the wall clock and of the
processor, which tells more on a busy machine; memory is the greatest of the process. With `--results FOLDER` the
figures become a dated page there.
"""

import argparse
import asyncio
import contextlib
import datetime
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from bench import machine
from bench.report import heading, machine_lines, write
from control_api.history.lines import csv_lines
from mta.history.files import SqliteFiles
from mta.history.reader import HistoryReader
from mta.history.sqlite_writer import SqliteWriter
from mta.journal.decoding import Decoder
from mta.journal.gathering import Gathering
from mta.model.entries import Entry, framed
from mta.model.events import Event, EventType
from mta.model.ids import delivery_id, new_message_id
from mta.model.outcomes import Forced, Origin, Stage
from mta.model.record_lines import record_lines
from mta.model.status import Status
from mta.ports.history import MOST_ROWS, RowFilter, RowPage
from mta.ports.spool import Place, Sourced

ROUND = 5000
IN_ENTRY = 50  # events
ROOT = Path(__file__).parents[2]
FAILED = frozenset({Status.UNDELIVERABLE})
DAY_MS = 86_400_000

_TLS = "TLSv1.3 TLS_AES_256_GCM_SHA384"
_encode = msgspec.msgpack.Encoder().encode


def fill(folder: str, deliveries: int, days: int) -> None:
    """One of twenty bounces, one is intercepted; there are two campaigns, 500 customers and 1,000 domains."""
    writer = SqliteWriter(folder, 2 * days * 86400.0)
    writer.open()
    begins, step = time.time() * 1000 - days * DAY_MS, days * DAY_MS / deliveries
    number = 0
    for base in range(0, deliveries, ROUND):
        at = int(begins + base * step)
        gathering = Gathering("measure", writer.positions())
        entries: list[Sourced] = []
        pairs = [_events(one, int(begins + one * step)) for one in range(base, min(deliveries, base + ROUND))]
        for events in ([pair[0] for pair in pairs], [pair[1] for pair in pairs]):
            for place in range(0, len(events), IN_ENTRY):
                number += 1
                entries.append(("0.1", Entry(f"{at}-{number}", framed(events[place : place + IN_ENTRY]))))
        for piece in Decoder().pieces(entries):
            gathering.add(piece)
        round_ = gathering.finish(Place(1, number))
        round_.known = {"0.1": at}
        writer.write(round_)
    writer.close()


def _events(number: int, at: int) -> tuple[bytes, bytes]:
    """Its acceptance and its end."""
    domain = f"d{number % 1000}.example.com"
    told: dict[str, Any] = {
        "id": delivery_id(new_message_id(number % 4, at), 1), "node": "n1", "pool": "default",
        "tags": ("spring" if number % 2 else "news", f"customer_{number % 500}"), "sender": "from@example.org",
        "recipient": f"user{number}@{domain}", "domain": domain, "size": 4096, "client": "127.0.0.1",
    }  # fmt: skip
    mta = {"mta": "192.0.2.1", "attempt": 1, "mx": f"mx.{domain}", "remote_ip": "198.51.100.7", "tls": _TLS}
    if number % 20 == 0:
        category = "quota" if number % 100_000 == 0 else "bad_mailbox"
        end = Event(
            EventType.BOUNCE, at + 700, **told, **mta, code=550, enhanced="5.1.1", text="no such user", queued_at=at,
            origin=Origin.REMOTE, duration_ms=12, seq=2, category=category,
        )  # fmt: skip
    elif number % 20 == 1:
        forced = Forced("few" if number % 100_000 == 1 else "campaign", 7, Stage.QUEUED)
        end = Event(
            EventType.INTERCEPTED, at + 700, **told, code=554, enhanced="5.7.1", text="stopped", queued_at=at,
            origin=Origin.FORCED, forced=forced, seq=2, uncertain=number % 100_000 == 1,
        )  # fmt: skip
    else:
        end = Event(
            EventType.DELIVERY, at + 700, **told, **mta, code=250, enhanced="2.0.0", text="queued", queued_at=at,
            origin=Origin.REMOTE, duration_ms=12, route="mx", seq=2,
        )  # fmt: skip
    return _encode(Event(EventType.RECEPTION, at, **told, seq=1)), _encode(end)


async def read(folder: str) -> dict[str, Any]:
    """Milliseconds of first pages, and figures of exports."""
    reader = HistoryReader(SqliteFiles(folder))
    pages: dict[str, Any] = {}
    for name, wanted in _lists():
        began = time.perf_counter()
        page = await reader.rows(wanted, 100)
        took = 1000 * (time.perf_counter() - began)
        while not page.rows and page.cursor:
            page = await reader.rows(wanted, 100, page.cursor)
        pages[name] = {"ms": took, "rows": len(page.rows), "until_rows_ms": 1000 * (time.perf_counter() - began)}
        print(f"first page of {name}: {took:.0f} ms; {len(page.rows)} rows after {pages[name]['until_rows_ms']:.0f} ms")
    exports = {}
    for name, wanted, lines in (
        ("all as NDJSON", RowFilter(), record_lines),
        ("all as CSV", RowFilter(), csv_lines),
        ("a campaign as CSV", RowFilter(tag="spring"), csv_lines),
        ("undeliverable ones of a campaign as CSV", RowFilter(tag="spring", statuses=FAILED), csv_lines),
    ):
        exports[name] = await _export(reader, name, wanted, lines)
    await reader.close()
    return {"pages": pages, "exports": exports}


def _lists() -> Iterator[tuple[str, RowFilter]]:
    yield "the newest", RowFilter()
    yield "a tag", RowFilter(tag="customer_7")
    yield "a recipient", RowFilter(recipient="user77@d77.example.com")
    yield "status x domain", RowFilter(domain="d40.example.com", statuses=FAILED)
    yield "a rule of many", RowFilter(rule="campaign")
    yield "a rule of few", RowFilter(rule="few")
    yield "a rule of none", RowFilter(rule="none")
    yield "a category of many", RowFilter(category="bad_mailbox")
    yield "a category of few", RowFilter(category="quota")
    yield "a category of none", RowFilter(category="size")
    yield "a category of few x tag", RowFilter(category="quota", tag="customer_7")
    yield "uncertain ones", RowFilter(uncertain=True)


async def _export(
    reader: HistoryReader, name: str, wanted: RowFilter, lines: Callable[[Any], bytes]
) -> dict[str, float]:
    """As the API does it: the next page is read while the lines of one are made."""
    began, used = time.perf_counter(), time.process_time()
    rows = 0
    following: asyncio.Task[RowPage] | None = asyncio.create_task(reader.rows(wanted, MOST_ROWS))
    while following is not None:
        page = await following
        following = asyncio.create_task(reader.rows(wanted, MOST_ROWS, page.cursor)) if page.cursor else None
        rows += len(page.rows)
        for at in range(0, len(page.rows), 500):
            lines(page.rows[at : at + 500])
            await asyncio.sleep(0)
    wall, cpu = time.perf_counter() - began, time.process_time() - used
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{name}: {rows:,} rows, {rows / wall:,.0f}/s, {1e6 * cpu / rows:.1f} us of CPU a row, {memory:.0f} MiB")
    return {"rows": rows, "rows_a_second": rows / wall, "us": 1e6 * cpu / rows, "mib": memory}


def as_page(result: dict[str, Any]) -> str:
    """The result for people."""
    found = result["found"]
    lines = [
        *heading(result),
        "",
        f"{found['deliveries']:,} deliveries over {found['days']} days, in SQLite: {found['mib']:,.0f} MiB on disk."
        + (
            f" They were written at {found['deliveries'] / found['fill_s']:,.0f} a second." if "fill_s" in found else ""
        ),
        "",
        "| first page of | ms | rows | ms until there are rows or the end |",
        "|---|---|---|---|",
        *(
            f"| {name} | {page['ms']:.0f} | {page['rows']} | {page['until_rows_ms']:.0f} |"
            for name, page in found["pages"].items()
        ),
        "",
        "| export of | rows | rows/s | us of CPU a row | memory of the process so far, MiB |",
        "|---|---|---|---|---|",
        *(
            f"| {name} | {one['rows']:,} | {one['rows_a_second']:,.0f} | {one['us']:.1f} | {one['mib']:.0f} |"
            for name, one in found["exports"].items()
        ),
        "",
        "## How it was measured",
        "",
        "The reader and the makers of lines are those of the API, in one process, without its sockets. A page has up "
        "to 100 rows. The files were written just before, so the system has some of them in memory. Events lie in "
        "compressed chunks of 128. Of the campaign every second event of a chunk is wanted, of its undeliverable ones "
        "every twentieth: for each row of that export 20 events are read.",
        "",
        *machine_lines(result),
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--deliveries", type=int, default=1_000_000)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--folder", help="an empty one, or a history that an earlier run has filled; it stays there")
    parser.add_argument("--results", type=Path, help="where the files of the result go")
    asked = parser.parse_args()
    now = datetime.datetime.now(datetime.UTC)
    with contextlib.ExitStack() as stack:
        folder = asked.folder or stack.enter_context(tempfile.TemporaryDirectory())
        found: dict[str, Any] = {"deliveries": asked.deliveries, "days": asked.days}
        if not (Path(folder) / "control.db").exists():
            began = time.perf_counter()
            fill(folder, asked.deliveries, asked.days)
            found["fill_s"] = time.perf_counter() - began
            print(f"filled {asked.deliveries:,} deliveries in {found['fill_s']:.0f} s")
        found |= {"mib": size_of(Path(folder)), **asyncio.run(read(folder))}
    if asked.results:
        result = {
            "name": "a large history",
            "date": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "commit": machine.commit(ROOT),
            "machine": machine.facts(),
            "found": found,
        }
        print(write(asked.results, f"{now:%Y-%m-%d}-history", result, as_page(result)))


def size_of(folder: Path) -> float:
    """MiB of the files there."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 2**20


if __name__ == "__main__":
    main()
