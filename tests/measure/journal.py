"""The cost of the journal per message without the store: `python -m tests.measure.journal`.

Rounds of an outbox in memory, 50 events an entry, one reception and one delivery a message; spool and log are files of
a temporary folder. The figure is CPU time of the process, the least and the median of many rounds.
"""

import argparse
import os
import tempfile
import time
from statistics import median
from typing import Any

import msgspec
import uvloop

from mta.journal.journal import Journal
from mta.log_file.delivery_log import DeliveryLog
from mta.log_file.lines import log_lines
from mta.model.entries import Entry, framed
from mta.model.event_settings import JournalSettings
from mta.model.events import Event, EventType
from mta.model.ids import DeliveryId
from mta.model.outcomes import Origin
from mta.ports.journal import Page
from mta.spool_files.spool import FileSpool
from tests.support.journal import Outbox, Tail

_EVENTS = 50  # an entry
_ENTRIES = 8  # of a lane a round: about what comes within 150 ms at full load
_LANES = 4


def _event(kind: EventType, n: int) -> Event:
    delivery = DeliveryId(os.urandom(16) + b"\0\1")
    reply: dict[str, Any] = {}
    if kind is EventType.DELIVERY:
        reply = {"mta": "127.0.0.1", "attempt": 1, "mx": "mx.d1.bench.test", "remote_ip": "127.0.0.1", "duration_ms": 7}
        reply |= {"code": 250, "enhanced": "2.0.0", "text": "OK queued as 0123456789", "origin": Origin.REMOTE}
    return Event(
        kind,
        1_800_000_000_000 + n,
        delivery,
        "node1",
        ("campaign_x", "customer_y"),
        "default",
        sender="from@example.org",
        recipient=f"user{n}@d1.bench.test",
        domain="d1.bench.test",
        size=4096,
        queued_at=1_800_000_000_000,
        client="127.0.0.1",
        **reply,
    )


class _Endless(Outbox):
    """Every lane has the same few entries, each time with new ids."""

    def __init__(self) -> None:
        super().__init__(_LANES)
        kinds = (EventType.RECEPTION, EventType.DELIVERY)
        encode = msgspec.msgpack.encode
        self._framed = [framed([encode(_event(kind, n)) for n in range(_EVENTS)]) for kind in kinds]
        self._seq = 0

    async def read(self, lane: int, after: str, room: int) -> Page:
        first, self._seq = self._seq + 1, self._seq + _ENTRIES
        return Page([Entry(f"{n}-0", self._framed[n % 2]) for n in range(first, self._seq + 1)], False)


async def measure(folder: str, rounds: int) -> list[float]:
    """Microseconds of CPU a message, of each four rounds."""
    now = [100.0]
    spool = FileSpool(f"{folder}/journal", 10 * 2**30)
    log = DeliveryLog(f"{folder}/delivery.jsonl", log_lines)
    journal = Journal(_Endless(), spool, {"log": log}, Tail(), "j", "n", JournalSettings(), clock=lambda: now[0])
    found = []
    for _ in range(rounds):
        began, entries = time.process_time(), 0
        for _ in range(4):
            now[0] += 0.15
            entries += await journal.round()
        if len(journal.lanes) == _LANES:
            found.append((time.process_time() - began) / (entries * _EVENTS) * 2e6)
    await journal.stop()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--directory", help="on the file system to be measured; the system's temporary folder")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.directory) as folder:
        found = uvloop.run(measure(folder, given.rounds))
    print(f"CPU of the journal a message, us: least {min(found):.1f}, median {median(found):.1f}")


if __name__ == "__main__":
    main()
