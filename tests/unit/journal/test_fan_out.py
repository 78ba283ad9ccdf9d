"""Sinks that fail, that are slow, and that come later."""

import itertools
import logging

import pytest

from mta.journal.fan_out import FanOut
from mta.model.events import EventType
from mta.ports.spool import Place
from mta.spool_files.spool import FileSpool
from tests.support.journal import Sink, delivery, entry


class Bench:
    def __init__(self, folder, *names, segment=2**20):
        self.now = 10.0
        self.spool = FileSpool(str(folder), 2**30, segment)
        self.sinks = {name: Sink() for name in names or ("log",)}
        self.fan_out = FanOut(self.spool, self.sinks, clock=lambda: self.now)

    def pass_on(self, *numbers, shown=None, size=1):
        entries = [("0", entry(f"{n}-0", delivery("x" * size))) for n in numbers]
        self.fan_out.hand_on(self.fan_out.append(entries), entries, shown)

    def catch_up(self, seconds=10.0):
        self.now += seconds
        while self.fan_out.lag():
            self.fan_out.catch_up()


def ids(*numbers):
    return [f"0.{n}-0.0" for n in numbers]


def test_one_sink_that_fails_does_not_hold_the_other_and_gets_everything_in_order_later(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    bench = Bench(tmp_path, "log", "other")
    log, other = bench.sinks.values()
    log.failing = log.full = True
    for n in (1, 2, 3):
        bench.pass_on(n)
        bench.fan_out.sync()
        bench.fan_out.catch_up()
    assert (log.ids, other.ids) == ([], ids(1, 2, 3))
    log.failing = log.full = False
    bench.catch_up()
    bench.pass_on(4)
    assert log.ids == other.ids == ids(1, 2, 3, 4)
    assert caplog.text.count("log is written again") == 1


def test_after_a_failed_sync_everything_since_the_last_good_one_comes_again(tmp_path):
    bench = Bench(tmp_path)
    log = bench.sinks["log"]
    bench.pass_on(1)
    bench.fan_out.sync()
    bench.pass_on(2)
    bench.pass_on(3)
    log.failing = True
    bench.fan_out.sync()
    assert (log.ids, bench.fan_out.failures) == (ids(1), 1)
    log.failing = False
    assert not bench.fan_out.lag(), "it is not tried again at once"
    bench.catch_up()
    assert log.ids == ids(1, 2, 3)


def test_a_sink_that_failed_is_tried_less_and_less_often(tmp_path):
    bench = Bench(tmp_path)
    bench.sinks["log"].full = True
    bench.pass_on(1)
    tries = []
    for _ in range(400):
        bench.now += 0.1
        if bench.fan_out.lag():
            tries.append(bench.now)
            bench.fan_out.catch_up()
    pauses = [later - earlier for earlier, later in itertools.pairwise(tries)]
    assert pauses == sorted(pauses)
    assert 4.9 < pauses[-1] < 5.2


def test_each_sink_goes_on_from_where_it_was_noted_and_a_new_one_begins_with_the_oldest(tmp_path):
    bench = Bench(tmp_path)
    bench.pass_on(1)
    bench.fan_out.sync()
    bench.pass_on(2)
    bench.spool.close()  # killed: the log has 2, and nobody noted it
    later = Bench(tmp_path, "log", "new")
    later.catch_up(0.0)
    assert (later.sinks["log"].ids, later.sinks["new"].ids) == (ids(2), ids(1, 2))


def test_the_spool_is_trimmed_behind_the_slowest(tmp_path):
    bench = Bench(tmp_path, "log", "slow", segment=2**16)
    slow = bench.sinks["slow"]
    slow.full = True
    for n in range(10):
        bench.pass_on(n, size=30_000)
    bench.fan_out.sync()
    assert bench.spool.size > 300_000
    slow.full = False
    bench.catch_up()
    bench.fan_out.sync()
    assert bench.spool.size < 2 * 2**16
    assert slow.ids == bench.sinks["log"].ids == ids(*range(10))


def test_k17_a_damaged_stretch_is_said_and_the_rest_comes(tmp_path, caplog):
    bench = Bench(tmp_path)
    bench.sinks["log"].full = True
    for n in (1, 2, 3):
        bench.pass_on(n)
    bench.spool.close()
    (segment,) = tmp_path.glob("*.spool")
    raw = bytearray(segment.read_bytes())
    raw[raw.index(b"2-0") + 1] ^= 1
    segment.write_bytes(raw)
    later = Bench(tmp_path)
    later.catch_up(0.0)
    first, gap, last = later.sinks["log"].got
    assert [first[0], last[0]] == ids(1, 3)
    assert gap[1].type is EventType.GAP
    assert "cannot be read" in gap[1].reason
    assert gap[0].startswith("gap.spool.1.")
    assert later.fan_out.damages == 1
    assert "the spool is damaged" in caplog.text


def test_those_who_watch_are_shown_what_was_decoded_for_the_sinks(tmp_path):
    bench, shown = Bench(tmp_path), []
    bench.sinks["log"].full = True
    bench.pass_on(1, 2, shown=shown)
    assert [event_id for event_id, _ in shown] == ids(1, 2), "a log that cannot be written does not keep it from them"


def test_a_log_that_was_moved_is_complete_and_nothing_of_it_comes_again(tmp_path):
    bench = Bench(tmp_path)
    bench.pass_on(1)
    bench.fan_out.reopen()
    assert (bench.sinks["log"].synced, bench.sinks["log"].reopened) == (1, 1)
    assert bench.spool.place_of("log") == bench.spool.end


def test_much_is_synced_at_once(tmp_path):
    bench = Bench(tmp_path, segment=2**25)
    for n in range(5):
        bench.pass_on(n, size=2**20)
    assert bench.sinks["log"].synced == 4
    assert bench.spool.place_of("log") > Place(1, 2**22)


@pytest.mark.parametrize("at", ["add", "write"])
def test_what_is_no_failure_of_a_disk_is_not_hidden(tmp_path, monkeypatch, at):
    bench = Bench(tmp_path)

    def bug(*args):
        raise RuntimeError("bug")

    monkeypatch.setattr(bench.sinks["log"], at, bug)
    with pytest.raises(RuntimeError):
        bench.pass_on(1)
