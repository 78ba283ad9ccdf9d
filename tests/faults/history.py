"""Mail while journals, APIs and the database of the history are killed at random; then history against the receipts."""

import pathlib
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Any

import psutil

from mta.model.events import EventType
from mta.model.status import Status
from mta.ports.history import BEGINNING, Cursor, KeptEvent
from tests.support.history import HistoryView, as_lines, history_of
from tests.support.mail_stream import MailStream
from tests.support.node import Node, module_of, running, until
from tests.support.postgres import Postgres
from tests.support.sink_thread import SinkThread
from tests.support.valkey import Valkey

TAG = "faults"
_SETTINGS: dict[str, Any] = {"delivery__retries": ["1s"], "rules__max_staleness": "1s", "journal__spool_max": "64MiB"}


class Follower:
    """A reader of events by cursor, from the beginning on, while everything else happens."""

    def __init__(self, view: Callable[[], Any]) -> None:
        self._view = view
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self.seen: list[KeptEvent] = []
        self.at: Cursor = BEGINNING

    def __enter__(self) -> "Follower":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join(20)

    def _follow(self) -> None:
        with self._view() as history:
            while not self._end.is_set():
                self.look(history)
                self._end.wait(0.05)

    def look(self, history: HistoryView) -> None:
        try:
            page = history.ask(lambda reader: reader.events(self.at, 37))
        except Exception:
            return  # it is away now
        self.seen += page.events
        self.at = page.next


class HistoryFaults:
    """One run: `seed` decides about the faults."""

    def __init__(self, folder: pathlib.Path, seed: int, postgres: Postgres | None = None, seconds: float = 8.0) -> None:
        """With `postgres` two nodes write to it; without, one node writes files."""
        self._random = random.Random(seed)
        self._seconds = seconds
        self._postgres = postgres
        self.sink = SinkThread()
        self.valkey = Valkey(folder / "valkey")
        names = ("n1", "n2") if postgres is not None else ("n1",)
        self._folders = {name: folder / name for name in names}
        self.nodes: list[Node] = []
        self.killed: Counter[str] = Counter()
        self._deliveries = self._events = 0

    def figures(self) -> dict[str, int]:
        """Deliveries and events that history has."""
        return {"deliveries": self._deliveries, "events": self._events}

    def view(self) -> Any:
        return history_of(self._postgres.url if self._postgres is not None else self._folders["n1"])

    def run(self) -> None:
        """Raises AssertionError where history and receipts differ."""
        with ExitStack() as stack:
            stack.enter_context(running(self.sink))
            stack.enter_context(running(self.valkey))
            url = self._postgres.url if self._postgres is not None else "sqlite"
            for name, folder in self._folders.items():
                sets = _SETTINGS | {"delivery__route": self.sink.address, "history__url": url}
                node = Node(folder, name, redis=self.valkey.url, workers=1, **sets)
                stack.enter_context(running(node))
                self.nodes.append(node)
            with Follower(self.view) as follower:
                accepted = self._mail_and_faults()
                with self.view() as history:
                    self._compare(history, follower, accepted)

    def _mail_and_faults(self) -> set[str]:
        """The recipients whose mail was accepted."""
        with ExitStack() as stack:
            streams = [stack.enter_context(MailStream(node.smtp, f"{node.name}.test", 2)) for node in self.nodes]
            end = time.monotonic() + self._seconds
            while time.monotonic() < end:
                time.sleep(self._random.uniform(0.1, 0.9))
                self._fault()
        return {told.recipient for stream in streams for told in stream.told if told.accepted}

    def _fault(self) -> None:
        kind = self._random.choice(["journal", "journal", "control_api", *(["database"] if self._postgres else [])])
        self.killed[kind] += 1
        if kind == "database":
            assert self._postgres is not None
            self._postgres.stop(signal.SIGQUIT)
            time.sleep(self._random.uniform(0.0, 1.0))
            self._postgres.start()
            return
        node = self._random.choice(self.nodes)
        module = {"journal": "mta.runtime.journal"}.get(kind, kind)
        for child in psutil.Process(node.process.pid).children():
            if module_of(child) == module:
                with suppress(psutil.NoSuchProcess):
                    child.kill()

    def _compare(self, history: HistoryView, follower: Follower, accepted: set[str]) -> None:
        def arrived() -> bool:
            there = {row.last.recipient for row in history.rows(statuses=frozenset({Status.SENT}))}
            return accepted <= there

        until(arrived, 60.0, "history lacks deliveries")
        until(lambda: {line["event"] for line in as_lines(history.events())} == self._logged(), what="they differ")
        rows = history.rows(page=101)
        receipts = Counter(one.recipients[0] for one in self.sink.sink.received if one.taken)
        sent = Counter(row.last.recipient for row in rows if row.standing.status is Status.SENT)
        assert len({row.id for row in rows}) == len(rows), "a delivery stands twice"
        # Nothing but journals, APIs and the database died, so that no delivery was made twice.
        assert sent == receipts, (sent - receipts, receipts - sent)
        assert accepted <= sent.keys()
        events = history.events()
        self._deliveries, self._events = len(rows), len(events)
        ids = Counter(one.event_id for one in events)
        assert max(ids.values()) == 1, ids.most_common(3)
        assert not [one.event.reason for one in events if one.event.type is EventType.GAP]
        logged = self._logged()
        assert {line["event"] for line in as_lines(events)} == logged, "log and history differ"
        until(lambda: len(follower.seen) >= len(events), what="the reader does not get to the end")
        assert [one.event_id for one in follower.seen] == [one.event_id for one in events]
        for row in rows[:: max(1, len(rows) // 50)]:
            kept = history.ask(lambda reader, row=row: reader.events_of(row.id[:16]))  # type: ignore[misc]
            assert [one.event.type for one in kept] == [EventType.RECEPTION, EventType.DELIVERY]

    def _logged(self) -> set[str]:
        lines = [line for node in self.nodes if node.log.exists() for line in node.log.read_text().splitlines()]
        return {line.partition('"event":"')[2].partition('"')[0] for line in lines}
