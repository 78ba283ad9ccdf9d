import asyncio
import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.journal.journal import Journal
from mta.journal.lines import log_lines
from mta.model.errors import StoreAway
from mta.model.events import Event, EventType
from mta.model.outcomes import Forced, Origin, Stage
from mta.model.rules import Change, ChangeOp, Head, Rule, Selectors
from mta.model.settings import JournalSettings
from mta.ports.journal import Entry, Page, RuleChange
from tests.support.log_keys import KEYS
from tests.support.scheduling import a_claim, until

GOOD = msgspec.msgpack.encode(Event(EventType.DELIVERY, 5))


class Outbox:
    def __init__(self, lanes=2):
        self.lanes = lanes
        self.streams = {lane: [] for lane in range(lanes)}
        self.owner, self.positions, self.rule_changes, self.rules_at = {}, {}, [], 0
        self.away, self.waits = False, []

    async def lease(self, lane, journal, seconds):
        return self.owner.setdefault(lane, journal) == journal

    async def release(self, lane, journal):
        self.owner.pop(lane)

    async def position(self, lane):
        return self.positions.get(lane, "0-0")

    async def read(self, lane, after, room):
        if self.away:
            raise StoreAway("away")
        found = []
        for entry in self.streams[lane]:
            if entry.id > after:
                if room <= 0:
                    return Page(found, True)
                found.append(entry)
                room -= sum(map(len, entry.events))
        return Page(found, False)

    async def wait(self, positions, seconds):
        self.waits.append(seconds)
        self.wanted = asyncio.Event()
        await self.wanted.wait()
        return True

    async def done(self, lane, journal, position):
        if self.owner.get(lane) != journal:
            return False
        self.positions[lane] = position
        self.streams[lane] = [entry for entry in self.streams[lane] if entry.id > position]
        return True

    async def drop(self, lane, journal, keep):
        dropped = len(self.streams[lane]) - keep
        self.streams[lane] = self.streams[lane][dropped:]
        return dropped

    async def backlog(self, lane):
        return len(self.streams[lane])

    async def changes(self, after, most):
        return [change for change in self.rule_changes if change.change.head.generation > after]

    async def changes_position(self, journal):
        return self.rules_at

    async def changes_done(self, journal, generation):
        self.rules_at = generation


class Sink:
    def __init__(self):
        self.got, self.full = [], False

    def write(self, events):
        if self.full:
            raise OSError(28, "No space left on device")
        new = list(events)
        self.got += new
        return [log_lines([item]) for item in new]

    def close(self):
        pass


class Tail:
    def __init__(self, watched=False):
        self.on, self.lines = watched, []

    async def watched(self):
        return self.on

    async def feed(self, lines):
        self.lines += lines


def log_line(event_id, event):
    line = log_lines([(event_id, event)])
    assert line.endswith(b"\n")
    return line[:-1]


class Bench:
    def __init__(self, outbox, name="j1", watched=False, **settings):
        self.clock, self.sink, self.tail = [100.0], Sink(), Tail(watched)
        self.journal = Journal(
            outbox, self.sink, self.tail, name, name, JournalSettings(**settings), clock=lambda: self.clock[0]
        )  # fmt: skip

    async def rounds(self, count=4):
        for _ in range(count):
            self.clock[0] += 1.1
            await self.journal.round()

    @property
    def ids(self):
        return [event_id for event_id, _ in self.sink.got]


async def test_events_are_written_once_in_order_and_then_trimmed():
    outbox = Outbox()
    outbox.streams[1] = [Entry("1-0", (GOOD, GOOD)), Entry("2-0", (GOOD,))]
    bench = Bench(outbox, watched=True)
    await bench.rounds()
    assert bench.ids == ["1.1-0.0", "1.1-0.1", "1.2-0.0"]
    assert outbox.streams[1] == []
    assert bench.tail.lines == [log_line(*item) for item in bench.sink.got]
    await bench.journal.stop()
    assert not outbox.owner


async def test_a_watcher_misses_nothing_from_the_moment_that_it_watches():
    outbox = Outbox(1)
    bench = Bench(outbox)
    await bench.rounds()
    bench.tail.on = True
    outbox.streams[0] = [Entry("1-0", (GOOD,))]
    await bench.journal.round()  # in the same instant: no slow tick has passed
    assert len(bench.tail.lines) == 1


async def test_a_round_takes_so_many_bytes_however_many_lanes_there_are_and_the_next_follows_at_once(monkeypatch):
    monkeypatch.setattr("mta.journal.journal._BUSY", 60.0)
    outbox, event = Outbox(), msgspec.msgpack.encode(Event(EventType.DELIVERY, 5, text="x" * 250_000))
    for lane in (0, 1):
        outbox.streams[lane] = [Entry(f"{n}-0", (event,)) for n in range(1, 9)]
    bench = Bench(outbox)
    await bench.journal.round()
    bench.clock[0] += 1.1
    await bench.journal.round()
    assert len(bench.sink.got) == 5 + 3 + 3, "all of the room for one lane, then half of it for each of two"
    assert bench.journal.behind
    bench.journal.start()
    await until(lambda: len(bench.sink.got) == 16)
    await bench.journal.stop()
    assert not bench.journal.behind


async def test_idle_it_asks_nothing_until_something_comes_and_stops_at_once():
    outbox = Outbox(1)
    bench = Bench(outbox)
    bench.journal.start()
    await until(lambda: outbox.waits)
    outbox.streams[0] = [Entry("1-0", (GOOD,))]
    outbox.wanted.set()
    await until(lambda: bench.ids == ["0.1-0.0"])
    await until(lambda: len(outbox.waits) == 2)
    assert max(outbox.waits) <= 1.0, "leases and rule changes do not wait longer"
    await asyncio.wait_for(bench.journal.stop(), 1.0)


async def test_a_stop_waits_for_a_store_that_is_away_once_and_not_for_each_lane():
    outbox, asked = Outbox(lanes=8), []
    bench = Bench(outbox)
    await bench.rounds(12)
    assert len(bench.journal.lanes) == 8

    async def release(lane, journal):
        asked.append(lane)
        raise StoreAway("no answer in time")

    outbox.release = release
    await bench.journal.stop()
    assert len(asked) == 1


async def test_a_full_disk_loses_nothing():
    outbox = Outbox(1)
    outbox.streams[0] = [Entry("1-0", (GOOD,))]
    bench = Bench(outbox)
    bench.sink.full = True
    with pytest.raises(OSError, match="No space"):
        await bench.rounds(1)
    bench.sink.full = False
    await bench.rounds(1)
    assert bench.ids == ["0.1-0.0"]
    await bench.journal.stop()


@pytest.mark.parametrize("bad", [b"\xc1junk", msgspec.msgpack.encode(Event(EventType.DELIVERY, 5, b"short"))])
async def test_an_undecodable_event_becomes_a_line_and_does_not_stop_the_rest(bad):
    outbox = Outbox(1)
    outbox.streams[0] = [Entry("7-0", (bad, GOOD))]
    bench = Bench(outbox)
    await bench.rounds(1)
    (_, gap), (_, good) = bench.sink.got
    assert (gap.type, gap.time, good.type) == (EventType.GAP, 7, EventType.DELIVERY)
    assert gap.properties == {"raw": bad.hex()}
    await bench.journal.stop()


async def test_a_lost_lane_is_not_written_any_more():
    outbox = Outbox(1)
    bench = Bench(outbox)
    await bench.rounds(1)
    outbox.owner[0] = "other"
    bench.clock[0] += 6
    outbox.streams[0] = [Entry("1-0", (GOOD,))]
    await bench.rounds()
    assert bench.ids == []
    assert bench.journal.lanes == []
    await bench.journal.stop()


async def test_two_journals_share_the_lanes():
    outbox = Outbox(4)
    one, two = Bench(outbox, "j1"), Bench(outbox, "j2")
    for _ in range(20):
        for bench in (one, two):
            bench.clock[0] += 0.05
            await bench.journal.round()
    assert len(one.journal.lanes) == len(two.journal.lanes) == 2
    await one.journal.stop()
    await two.journal.stop()


async def test_a_change_of_rules_is_a_line():
    outbox = Outbox(1)
    rule = Rule("r1", Selectors(tag="x"), 554, "5.7.1", "stop")
    outbox.rule_changes = [RuleChange(Change(Head(3, "c"), ChangeOp.PUT, rule), 9, "admin")]
    bench = Bench(outbox)
    await bench.rounds()
    assert bench.ids == ["rules.3"]
    assert bench.sink.got[0][1].type is EventType.RULE
    await bench.journal.stop()


async def test_far_behind_it_drops_only_when_told_to_and_leaves_a_gap_record():
    for when, want in (("refuse", 10), ("drop", 3)):
        outbox = Outbox(1)
        bench = Bench(outbox, when_behind=when, backlog_soft=2, backlog_hard=5)
        await bench.rounds(1)
        outbox.streams[0] = [Entry(f"1-{n}", (GOOD,)) for n in range(10)]
        await bench.rounds(1)
        assert len(bench.ids) == want
        assert (bench.sink.got[0][1].type is EventType.GAP) == (when == "drop")
        await bench.journal.stop()


def test_keys_come_in_the_contracts_order_and_absent_when_unknown():
    event = Event(
        EventType.INTERCEPTED, 1_800_000_000_123, a_claim().id, "n", ("t",), "p", "192.0.2.1", "", "b@x", "x", 2, "mx",
        "192.0.2.2", "TLSv1.3", 554, "5.7.1", "stop", Origin.FORCED, "policy", "why",
        Forced("r", 3, Stage.QUEUED), 10, 1, 2, 0, "192.0.2.3", {"k": "v"}, "acme", True,
    )  # fmt: skip
    line = json.loads(log_line("0.1-0.0", event))
    assert list(line) == KEYS
    assert (line["node"], line["tenant"], line["tags"]) == ("n", "acme", ["t"])
    assert (line["time"], line["sender"], line["forced"]["stage"]) == ("2027-01-15T08:00:00.123Z", "", "queued")
    assert list(json.loads(log_line("g", Event(EventType.GAP, 1)))) == ["v", "time", "event", "type"]


def test_lines_made_together_are_the_lines_made_one_by_one():
    texts = ("plain", "caf\u00e9", 'a "quoted" \\ word', "\x7f", "one\ntwo\u2028three\r", "plain", "\ud800")
    events = [(str(n), Event(EventType.BOUNCE, n, text=text)) for n, text in enumerate(texts)]
    for count in range(len(events) + 1):  # the last is no text that UTF-8 has
        assert log_lines(events[:count]).splitlines() == [log_line(*item) for item in events[:count]]


async def test_what_could_not_be_noted_is_noted_later_and_not_written_again():
    outbox = Outbox(1)
    outbox.streams[0] = [Entry("1-0", (GOOD,))]
    bench, done = Bench(outbox), outbox.done

    async def away(lane, journal, position):
        raise StoreAway("away")

    outbox.done = away
    with pytest.raises(StoreAway):
        await bench.rounds(1)
    outbox.done = done
    await bench.rounds(1)
    assert (bench.ids, outbox.positions, outbox.streams[0]) == (["0.1-0.0"], {0: "1-0"}, [])
    await bench.journal.stop()


@given(st.text(), st.text(), st.dictionaries(st.text(), st.text(), max_size=2))
def test_one_event_is_one_printable_line(text, tag, properties):
    line = log_line("e", Event(EventType.BOUNCE, 1, text=text, tags=(tag,), properties=properties)).decode()
    assert line.isprintable()
    json.loads(line)


async def test_a_change_of_rules_tells_what_is_not_as_usual():
    outbox = Outbox(1)
    chosen = Selectors(tags_all=("x", "y"), except_tags=("z",), ip="192.0.2.1")
    rule = Rule("r1", chosen, 554, enabled=False, expires_at=1000)
    outbox.rule_changes = [RuleChange(Change(Head(3, "c"), ChangeOp.PUT, rule), 9, "admin")]
    bench = Bench(outbox)
    await bench.rounds()
    event = bench.sink.got[0][1]
    assert (event.tags, event.remote_ip) == (("x", "y"), "192.0.2.1")
    assert event.properties["except_tags"] == "z"
    assert (event.properties["enabled"], event.properties["expires_at"]) == ("false", "1970-01-01T00:00:01.000Z")
    await bench.journal.stop()
