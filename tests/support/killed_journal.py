"""A journal that kills itself at a named point: `python -m tests.support.killed_journal FOLDER POINT ENTRIES`.

It works on a store in memory with that many entries in one lane, and keeps what the store would know of the lane's
position in a file of the folder. With the point "none" it comes to its end.
"""

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

from mta.journal.journal import Journal
from mta.log_file.delivery_log import DeliveryLog
from mta.log_file.lines import log_lines
from mta.model.event_settings import JournalSettings
from mta.spool_files.spool import FileSpool
from tests.support.journal import Outbox, Tail, delivery, entry

POINTS = (
    "while the spool is written",
    "between spool and log",
    "while the log is written",
    "between log and position",
    "between sync and place",
    "between two segments",
    "while the log is rotated",
)
_SEGMENT = 4096
_A_ROUND = 7  # entries


def _die(*args: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class _Outbox(Outbox):
    """Gives a few entries a round, and remembers the position across processes."""

    def __init__(self, folder: Path, count: int) -> None:
        super().__init__(1)
        self._file = folder / "position"
        position = self._file.read_text() if self._file.exists() else "0-0"
        self.positions[0] = position
        every = [entry(f"{n:05}-0", delivery(f"event {n}")) for n in range(1, count + 1)]
        self.streams[0] = [one for one in every if one.id > position]

    async def read(self, lane: int, after: str, room: int) -> Any:
        page = await super().read(lane, after, room)
        return page._replace(entries=page.entries[:_A_ROUND])

    async def done(self, lane: int, journal: str, position: str) -> bool:
        unfinished = self._file.with_suffix(".new")
        unfinished.write_text(position)
        unfinished.rename(self._file)
        return await super().done(lane, journal, position)


def _half_a_write(real: Any, of: Any) -> Any:
    def write(fd: int, data: Any) -> int:
        if fd == of():
            real(fd, bytes(data[: len(data) // 2]))
            _die()
        return int(real(fd, data))

    return write


def _arm(point: str, journal: Any, spool: Any, log: Any, outbox: Any) -> None:
    if point == "while the spool is written":
        os.write = _half_a_write(os.write, lambda: spool._fd)
    elif point == "between spool and log":
        journal._fan_out.hand_on = _die
    elif point == "while the log is written":
        os.write = _half_a_write(os.write, lambda: log._fd)
    elif point == "between log and position":
        outbox.done = _die
    elif point == "between sync and place":
        spool.note = _die
    elif point == "between two segments":
        Path.rename = _die  # type: ignore[assignment, method-assign]
    elif point == "while the log is rotated":
        log._open = _die


async def _main(folder: Path, point: str, count: int) -> None:
    outbox, now = _Outbox(folder, count), [100.0]
    spool = FileSpool(str(folder / "journal"), 2**20, _SEGMENT)
    log = DeliveryLog(str(folder / "log" / "d.jsonl"), log_lines)
    journal = Journal(outbox, spool, {"log": log}, Tail(), "j", "n", JournalSettings(), clock=lambda: now[0])
    for turn in range(count):
        if turn == 3:
            _arm(point, journal, spool, log, outbox)
            if "rotated" in point:
                os.rename(log._path, folder / "log" / "d.1")
                await journal.reopen()
        now[0] += 0.4
        if not await journal.round() and not journal.behind and not outbox.streams[0]:
            break
    await journal.stop()


if __name__ == "__main__":
    asyncio.run(_main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
