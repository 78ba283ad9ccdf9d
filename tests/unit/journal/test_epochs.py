"""Epochs: what a journal does about a stream that lost entries which it had read."""

import pytest

from tests.support.journal import Bench, Outbox, entry


async def read_up_to(tmp_path, *entries):
    outbox = Outbox(1)
    outbox.streams[0] = [entry(one) for one in entries]
    bench = Bench(tmp_path, outbox)
    await bench.rounds(2)
    return outbox, bench


def fail_over(outbox, left, stream, added, noted=None):
    """The server now has an older stream: `left` was its newest entry, `added` how many it ever had."""
    outbox.streams[0] = [entry(one) for one in stream]
    outbox.ends[0] = left
    outbox.trimmed[0] = added
    if noted is not None:
        outbox.positions[0] = noted


async def test_a_stream_that_ends_before_the_position_begins_an_epoch_with_a_gap(tmp_path):
    outbox, bench = await read_up_to(tmp_path, "1-0", "2-0", "3-0")
    fail_over(outbox, "2-0", [], 2)
    bench.now += 6  # the lease is renewed
    await bench.rounds(1)
    assert bench.ids == ["0.1.1-0.0", "0.1.2-0.0", "0.1.3-0.0", "gap.0.2.3-0"]
    assert "lost 1 entries of events up to 3-0" in bench.sink.got[-1][1].reason
    assert (outbox.epochs, outbox.positions) == ({0: 2}, {0: "2-0"})
    outbox.streams[0] = [entry("2-5")]
    await bench.rounds(2)
    assert bench.ids[4:] == ["0.2.2-5.0"]
    bench.now += 6
    await bench.rounds(1)
    assert len(bench.ids) == 5, "it is said once"


async def test_entries_that_came_since_hide_no_failover_and_are_all_read(tmp_path):
    outbox, bench = await read_up_to(tmp_path, "1-0", "2-0", "3-0")
    fail_over(outbox, "1-0", ["4-0", "5-0", "6-0"], 1)
    bench.now += 6
    await bench.rounds(2)
    assert bench.ids[3:] == ["gap.0.2.3-0", "0.2.4-0.0", "0.2.5-0.0", "0.2.6-0.0"]
    assert "lost 2 entries" in bench.sink.got[3][1].reason


async def test_after_trouble_the_stream_is_looked_at_before_anything_is_read(tmp_path):
    outbox, bench = await read_up_to(tmp_path, "1-0", "2-0")
    fail_over(outbox, "1-0", ["3-0"], 1)
    bench.journal._leases.doubt()  # as after each StoreError
    await bench.rounds(1)
    assert bench.ids[2:] == ["gap.0.2.2-0", "0.2.3-0.0"]


async def test_a_gap_that_could_not_be_written_keeps_the_position_and_is_said_at_the_next_look(tmp_path):
    outbox, bench = await read_up_to(tmp_path, "1-0", "2-0")
    fail_over(outbox, "1-0", [], 1)
    bench.journal._leases.doubt()

    def broken(entries):
        raise OSError(28, "no space left")

    bench.spool.append, append = broken, bench.spool.append
    with pytest.raises(OSError, match="no space"):
        await bench.rounds(1)
    assert outbox.positions == {0: "2-0"}, "it tells a journal that comes after this one"
    bench.spool.append = append
    await bench.rounds(1)
    assert bench.ids[2:] == ["gap.0.2.2-0"]
    assert outbox.epochs == {0: 2}


async def test_dropped_entries_and_a_lane_without_a_stream_are_no_failover(tmp_path):
    outbox, bench = await read_up_to(tmp_path)
    bench.now += 6
    await bench.rounds(1)
    outbox.streams[0] = [entry(f"{n}-0") for n in range(1, 6)]
    await outbox.drop(0, "j1", 2)
    bench.now += 6
    await bench.rounds(2)
    assert outbox.epochs == {}
    assert bench.ids == ["0.1.4-0.0", "0.1.5-0.0"]


async def test_an_emptied_store_is_no_failover_and_what_came_since_is_read(tmp_path):
    outbox, bench = await read_up_to(tmp_path, "1-0", "2-0")
    fail_over(outbox, "0-0", ["3-0"], 0, noted="0-0")
    outbox.born = ""  # nobody has prepared it yet
    bench.now += 6
    await bench.rounds(1)
    outbox.born = "2"
    await bench.rounds(2)
    assert bench.ids == ["0.1.1-0.0", "0.1.2-0.0", "0.1.3-0.0"]
    assert (outbox.epochs, outbox.positions) == ({}, {0: "3-0"})
