"""History as a consumer of the spool: a database that is away, a full spool, lanes that come from another journal."""

import pathlib
import time
from collections.abc import Callable, Mapping, Sequence

import msgspec
import pytest

from mta.journal import sweep_rest
from mta.journal.fan_out import FanOut
from mta.journal.history_feed import HistoryFeed
from mta.model.entries import link_entry
from mta.model.errors import HistoryAway
from mta.model.events import Event, EventType
from mta.ports.event_sinks import Item
from mta.ports.history_writer import Position, PositionMoved, Round
from mta.ports.spool import Place, Sourced
from mta.spool_files.spool import FileSpool
from tests.support.history_rounds import Lane, a_delivery, accepted, later

_decode = msgspec.msgpack.Decoder(Event).decode
LIMIT, SEGMENT = 64 * 1024, 4 * 1024


class Writer:
    """A database in memory; `away` is the trouble it is in."""

    def __init__(self, alone: bool = False) -> None:
        self.alone = alone
        self.away = ""
        self.told: list[Event] = []
        self.lanes: dict[str, Position] = {}
        self.places: dict[str, Place] = {}

    def open(self) -> None:
        self._reach()

    def positions(self) -> Mapping[str, Position]:
        self._reach()
        return self.lanes

    def place(self, spool: str) -> Place | None:
        return self.places.get(spool)

    def write(self, round_: Round) -> None:
        self._reach()
        for source, (after, last) in round_.stretches.items():
            if source in self.lanes and self.lanes[source].last != after:
                raise PositionMoved(source)
            begun = self.lanes[source].begun if source in self.lanes else after
            self.lanes = self.lanes | {source: Position(begun, last)}
        assert round_.place is not None
        self.places[round_.spool] = round_.place
        for chunk in round_.chunks:
            for _, entry in chunk.entries:
                self.told += [_decode(raw) for raw in entry.events]

    def drop_old_days(self, now: int) -> None:
        self._reach()

    def close(self) -> None:
        pass

    def _reach(self) -> None:
        if self.away:
            raise HistoryAway(self.away)

    @property
    def recipients(self) -> list[str]:
        return [event.recipient for event in self.told if event.type is not EventType.GAP]

    @property
    def gaps(self) -> list[str]:
        return [event.reason for event in self.told if event.type is EventType.GAP]


class Sink:
    def add(self, events: Sequence[Item]) -> None: ...
    def write(self) -> None: ...
    def sync(self) -> None: ...
    def reopen(self) -> None: ...
    def close(self) -> None: ...


class Rig:
    """A fan-out with its spool, and a clock that a test turns."""

    def __init__(self, folder: pathlib.Path, writer: Writer) -> None:
        self.now = 100.0
        self.writer = writer
        self.spool = FileSpool(str(folder), LIMIT, SEGMENT)
        self.feed = HistoryFeed(writer, self.spool, "history", clock=lambda: self.now)
        self.fan_out = FanOut(self.spool, {"log": Sink()}, self.feed, clock=lambda: self.now)

    def append(self, *entries: Sourced) -> None:
        start = self.fan_out.append(entries)
        self.fan_out.hand_on(start, entries)

    def until(self, holds: Callable[[], bool]) -> None:
        """Let it work while the clock runs."""
        deadline = time.monotonic() + 60
        while not holds():
            assert time.monotonic() < deadline, (self.writer.recipients, self.writer.gaps)
            self.now += 0.3
            self.fan_out.catch_up()
            self.fan_out.tick()
            time.sleep(0.001)


@pytest.fixture
def writer() -> Writer:
    return Writer()


@pytest.fixture
def place(tmp_path: pathlib.Path, writer: Writer) -> Rig:
    return Rig(tmp_path / "spool", writer)


def mail(lane: Lane, *names: str) -> Sourced:
    return lane.entry(*[accepted(a_delivery(), f"{name}@a.test") for name in names])


def names(writer: Writer) -> list[str]:
    return [recipient.partition("@")[0] for recipient in writer.recipients]


def test_events_wait_in_the_spool_while_the_database_is_away_and_come_once(place: Rig, writer: Writer) -> None:
    lane = Lane()
    writer.away = "the disk is full"
    for name in ("a", "b", "c"):
        place.append(mail(lane, name))
    place.until(lambda: place.feed.failures >= 2)
    assert place.feed.kept < place.spool.end
    writer.away = ""
    place.until(lambda: names(writer) == ["a", "b", "c"])
    place.until(lambda: place.feed.kept == place.spool.end)
    assert writer.gaps == []


def test_a_journal_that_starts_again_goes_on_where_the_database_is(tmp_path: pathlib.Path, writer: Writer) -> None:
    lane = Lane()
    first = Rig(tmp_path / "spool", writer)
    first.append(mail(lane, "a"))
    first.until(lambda: names(writer) == ["a"])
    first.append(mail(lane, "b"))  # gathered, and lost with the process
    first.spool.close()
    again = Rig(tmp_path / "spool", writer)
    again.append(mail(lane, "c"))
    again.until(lambda: names(writer) == ["a", "b", "c"])


def test_a_commit_whose_answer_was_lost_is_not_repeated(place: Rig, writer: Writer) -> None:
    lane = Lane()
    place.append(mail(lane, "a"))
    place.until(lambda: names(writer) == ["a"])
    write = writer.write

    def write_and_lose_the_answer(round_: Round) -> None:
        write(round_)
        writer.write = write  # type: ignore[method-assign]
        raise HistoryAway("no answer")

    writer.write = write_and_lose_the_answer  # type: ignore[method-assign]
    place.append(mail(lane, "b"))
    place.until(lambda: place.feed.failures == 1)
    place.append(mail(lane, "c"))
    place.until(lambda: names(writer) == ["a", "b", "c"])


def test_history_rests_behind_a_sweep_and_has_everything_afterwards(
    place: Rig, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep_rest, "_SWEPT", 2)
    monkeypatch.setattr(sweep_rest, "_IDLE", 100.0)
    lane = Lane()
    place.append(mail(lane, "first"))
    place.until(lambda: place.feed.kept == place.spool.end)
    came = [accepted(a_delivery(), f"{name}@a.test") for name in ("a", "b")]
    place.append(lane.entry(*came), lane.entry(*(later(event, EventType.INTERCEPTED) for event in came)))
    place.until(lambda: place.feed.kept == place.spool.end)
    place.append(mail(lane, "c"))
    began = place.now
    place.until(lambda: place.now > began + 2)
    assert (len(writer.told), place.fan_out.lag()) == (5, False)
    place.until(lambda: names(writer)[-1] == "c")
    assert place.now > began + 3
    place.append(mail(lane, "d"))
    place.until(lambda: names(writer)[-1] == "d")
    place.until(lambda: place.feed.kept == place.spool.end)
    assert writer.gaps == []


def test_a_spool_that_history_alone_fills_lets_go_of_its_oldest_events_and_history_shows_a_gap(
    place: Rig, writer: Writer
) -> None:
    lane, sent = Lane(), []
    place.append(mail(lane, "first"))
    place.until(lambda: names(writer) == ["first"])
    writer.away = "no answer"
    while not place.feed.lost:
        if place.spool.is_full():
            place.fan_out.sync()
            place.fan_out.make_room()
            assert not place.spool.is_full()
        name = f"m{len(sent)}"
        sent.append(name)
        place.append(mail(lane, name, *[f"{name}.{n}" for n in range(20)]))
    writer.away = ""
    place.until(lambda: names(writer)[-1] == f"{sent[-1]}.19")
    assert len(writer.gaps) == 1
    assert "journal.spool_max" in writer.gaps[0]
    there = [name for name in names(writer) if "." not in name and name != "first"]
    assert there == [name for name in sent if name in set(there)]
    assert len(there) < len(sent)
    assert len(set(names(writer))) == len(names(writer))


def test_a_lane_from_another_journal_waits_for_the_events_that_only_that_one_has(place: Rig, writer: Writer) -> None:
    other = Lane("1.1")
    before, last = mail(other, "x"), mail(other, "y")
    writer.lanes = {"1.1": Position("0-0", before[1].id)}
    lane = Lane()
    place.append(mail(lane, "a"))
    place.append(("1.1", link_entry(last[1].id)), mail(other, "z"))
    place.append(mail(lane, "b"))
    place.until(lambda: place.feed.blocked_lane == "1")
    place.until(lambda: names(writer) == ["a"])  # events that came before are written meanwhile
    writer.lanes = writer.lanes | {"1.1": Position("0-0", last[1].id)}  # the other journal has written it
    place.until(lambda: names(writer) == ["a", "z", "b"])
    assert writer.gaps == []
    assert place.feed.blocked_lane == ""


def test_these_events_are_given_up_by_order_or_at_once_where_nobody_else_writes(
    tmp_path: pathlib.Path, place: Rig, writer: Writer
) -> None:
    writer.lanes = {"1.1": Position("0-0", "5-0")}
    lane = Lane("1.1", 11)
    place.append(("1.1", link_entry("10-0")), mail(lane, "z"))
    place.until(lambda: place.feed.blocked_lane == "1")
    place.fan_out.skip_blocked()
    place.until(lambda: names(writer) == ["z"])
    assert writer.gaps == ["history lacks the events of lane 1 behind 5-0 up to 10-0"]
    alone = Writer(alone=True)
    alone.lanes = {"1.1": Position("0-0", "5-0")}
    files = Rig(tmp_path / "other", alone)
    files.append(("1.1", link_entry("10-0")), mail(lane, "z"))
    files.until(lambda: names(alone) == ["z"])
    assert alone.gaps == writer.gaps
