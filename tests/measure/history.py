"""Reading a large history in files: `python -m tests.measure.history --deliveries 1000000 --days 30`.

It fills a history as a journal would, in rounds of 5,000 deliveries, and then reads it with the reader and the makers
of lines that the API uses: the first page of several lists, and exports. Times are of the wall clock and of the
processor, which tells more on a busy machine; memory is the greatest of the process.
"""

import argparse
import asyncio
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from control_api.history.lines import csv_lines, record_lines
from mta.history.files import SqliteFiles
from mta.history.reader import HistoryReader
from mta.history.sqlite_writer import SqliteWriter
from mta.journal.decoding import Decoder
from mta.journal.gathering import Gathering
from mta.model.entries import Entry, framed
from mta.model.events import Event, EventType
from mta.model.ids import delivery_id, new_message_id
from mta.model.outcomes import Origin
from mta.model.status import Status
from mta.ports.history import MOST_ROWS, RowFilter
from mta.ports.spool import Place, Sourced

ROUND = 5000
IN_ENTRY = 50  # events
DAY_MS = 86_400_000

_encode = msgspec.msgpack.Encoder().encode


def fill(folder: str, deliveries: int, days: int) -> None:
    """One of twenty bounces; there are two campaigns, 500 customers and 1,000 domains."""
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
    domain, taken = f"d{number % 1000}.example.com", number % 20 != 0
    told: dict[str, Any] = {
        "id": delivery_id(new_message_id(number % 4, at), 1), "node": "n1", "pool": "default",
        "tags": ("spring" if number % 2 else "news", f"customer_{number % 500}"), "sender": "from@example.org",
        "recipient": f"user{number}@{domain}", "domain": domain, "size": 4096, "client": "127.0.0.1",
    }  # fmt: skip
    end = Event(
        EventType.DELIVERY if taken else EventType.BOUNCE, at + 700, **told, mta="192.0.2.1", attempt=1,
        mx=f"mx.{domain}", remote_ip="198.51.100.7", tls="TLSv1.3 TLS_AES_256_GCM_SHA384", code=250 if taken else 550,
        enhanced="2.0.0" if taken else "5.1.1", text="queued" if taken else "no such user", origin=Origin.REMOTE,
        queued_at=at, duration_ms=12, route="mx" if taken else "", seq=2,
    )  # fmt: skip
    return _encode(Event(EventType.RECEPTION, at, **told, seq=1)), _encode(end)


async def read(folder: str) -> None:
    reader = HistoryReader(SqliteFiles(folder))
    for name, wanted in _lists():
        began = time.perf_counter()
        page = await reader.rows(wanted, 100)
        print(f"first page of {name}: {1000 * (time.perf_counter() - began):.0f} ms, {len(page.rows)} rows")
    for name, wanted, lines in (
        ("all as NDJSON", RowFilter(), record_lines),
        ("all as CSV", RowFilter(), csv_lines),
        ("a campaign as CSV", RowFilter(tag="spring"), csv_lines),
    ):
        await _export(reader, name, wanted, lines)
    await reader.close()


def _lists() -> Iterator[tuple[str, RowFilter]]:
    yield "the newest", RowFilter()
    yield "a tag", RowFilter(tag="customer_7")
    yield "a recipient", RowFilter(recipient="user77@d77.example.com")
    yield "status x domain", RowFilter(domain="d40.example.com", statuses=frozenset({Status.UNDELIVERABLE}))


async def _export(reader: HistoryReader, name: str, wanted: RowFilter, lines: Callable[[Any], bytes]) -> None:
    began, used = time.perf_counter(), time.process_time()
    rows, cursor, is_first = 0, "", True
    while is_first or cursor:
        page = await reader.rows(wanted, MOST_ROWS, cursor)
        is_first, cursor = False, page.cursor
        rows += len(page.rows)
        for at in range(0, len(page.rows), 500):
            lines(page.rows[at : at + 500])
    wall, cpu = time.perf_counter() - began, time.process_time() - used
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"{name}: {rows:,} rows, {rows / wall:,.0f}/s, {1e6 * cpu / rows:.1f} us of CPU a row, {memory} MiB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--deliveries", type=int, default=1_000_000)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--folder", help="a history that an earlier run has filled; it is left as it is")
    asked = parser.parse_args()
    if asked.folder:
        asyncio.run(read(asked.folder))
        return
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        fill(folder, asked.deliveries, asked.days)
        print(f"filled {asked.deliveries:,} deliveries in {time.perf_counter() - began:.0f} s")
        asyncio.run(read(folder))


if __name__ == "__main__":
    main()
