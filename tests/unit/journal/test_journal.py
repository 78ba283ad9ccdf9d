import asyncio

import pytest

from mta.model.errors import StoreAway
from tests.support.journal import GOOD, Bench, Outbox, delivery, entry
from tests.support.scheduling import until


def no_space(*args):
    raise OSError(28, "No space left on device")


async def test_events_are_written_once_in_order_and_then_trimmed(tmp_path):
    outbox = Outbox()
    outbox.streams[1] = [entry("1-0", GOOD, GOOD), entry("2-0")]
    bench = Bench(tmp_path, outbox, watched=True)
    await bench.rounds()
    assert bench.ids == ["1.1.1-0.0", "1.1.1-0.1", "1.1.2-0.0"]
    assert outbox.streams[1] == []
    assert bench.tail.events == bench.sink.got
    await bench.journal.stop()
    assert not outbox.owner


async def test_a_watcher_misses_nothing_from_the_moment_that_it_watches(tmp_path):
    outbox = Outbox(1)
    bench = Bench(tmp_path, outbox)
    await bench.rounds()
    bench.tail.on = True
    outbox.streams[0] = [entry("1-0")]
    await bench.journal.round()  # in the same instant: no slow tick has passed
    assert len(bench.tail.events) == 1


async def test_a_round_takes_so_many_bytes_however_many_lanes_there_are_and_the_next_follows_at_once(
    tmp_path, monkeypatch
):
    monkeypatch.setattr("mta.journal.journal._BUSY", 60.0)
    outbox, event = Outbox(), delivery("x" * 250_000)
    for lane in (0, 1):
        outbox.streams[lane] = [entry(f"{n}-0", event) for n in range(1, 9)]
    bench = Bench(tmp_path, outbox)
    await bench.journal.round()
    bench.now += 1.1
    await bench.journal.round()
    assert len(bench.sink.got) == 5 + 3 + 3, "all of the room for one lane, then half of it for each of two"
    assert bench.journal.behind
    bench.journal.start()
    await until(lambda: len(bench.sink.got) == 16)
    await bench.journal.stop()
    assert not bench.journal.behind


async def test_idle_it_asks_nothing_until_something_comes_and_stops_at_once(tmp_path):
    outbox = Outbox(1)
    bench = Bench(tmp_path, outbox)
    bench.journal.start()
    await until(lambda: outbox.waits)
    outbox.streams[0] = [entry("1-0")]
    outbox.wanted.set()
    await until(lambda: bench.ids == ["0.1.1-0.0"])
    await until(lambda: len(outbox.waits) == 2)
    assert max(outbox.waits) <= 1.0, "leases and rule changes do not wait longer"
    await asyncio.wait_for(bench.journal.stop(), 10.0)


async def test_a_stop_waits_for_a_store_that_is_away_once_and_not_for_each_lane(tmp_path):
    outbox, asked = Outbox(lanes=8), []
    bench = Bench(tmp_path, outbox)
    await bench.rounds(12)
    assert len(bench.journal.lanes) == 8

    async def release(lane, journal):
        asked.append(lane)
        raise StoreAway("no answer in time")

    outbox.release = release
    await bench.journal.stop()
    assert len(asked) == 1


async def test_a_full_disk_loses_nothing(tmp_path, monkeypatch):
    outbox = Outbox(1)
    outbox.streams[0] = [entry("1-0")]
    bench = Bench(tmp_path, outbox)
    append = bench.spool.append
    monkeypatch.setattr(bench.spool, "append", no_space)
    with pytest.raises(OSError, match="No space"):
        await bench.rounds(1)
    assert (len(outbox.streams[0]), bench.ids) == (1, [])
    monkeypatch.setattr(bench.spool, "append", append)
    await bench.rounds(1)
    assert bench.ids == ["0.1.1-0.0"]
    await bench.journal.stop()


async def test_a_log_that_cannot_be_written_holds_the_spool_and_not_the_store(tmp_path, caplog):
    outbox = Outbox(1)
    bench = Bench(tmp_path, outbox)
    bench.sink.full = True
    for n in (1, 2, 3):
        outbox.streams[0] = [entry(f"{n}-0")]
        await bench.rounds(1)
    assert (outbox.streams[0], outbox.positions[0], bench.ids) == ([], "3-0", [])
    bench.sink.full = False
    await bench.rounds(1)
    assert bench.ids == ["0.1.1-0.0", "0.1.2-0.0", "0.1.3-0.0"]
    assert bench.journal.metrics()["journal_failures"] == 3
    await bench.journal.stop()


async def test_a_log_is_written_on_from_the_spool_while_the_store_is_away(tmp_path):
    outbox = Outbox(1)
    outbox.streams[0] = [entry("1-0")]
    bench = Bench(tmp_path, outbox)
    bench.sink.full = True
    await bench.rounds(1)
    outbox.away, bench.sink.full = True, False
    with pytest.raises(StoreAway):
        await bench.rounds(1)
    assert bench.ids == ["0.1.1-0.0"]
    await bench.journal.stop()


async def test_beyond_its_bound_the_spool_leaves_events_in_the_store_and_says_so(tmp_path, caplog):
    outbox = Outbox(1)
    bench = Bench(tmp_path, outbox, spool_max=16 * 2**20)
    bench.sink.full = True
    large = delivery("x" * 2**20)
    for n in range(1, 21):
        outbox.streams[0] += [entry(f"{n:02}-0", large)]
        await bench.rounds(1)
    assert 16 * 2**20 <= bench.spool.size < 18 * 2**20
    assert len(outbox.streams[0]) == 20 - 16
    assert caplog.text.count("the spool is full (journal.spool_max)") == 1
    bench.sink.full = False
    await bench.rounds(12)
    assert bench.ids == [f"0.1.{n:02}-0.0" for n in range(1, 21)]
    assert bench.spool.size < 4 * 2**20, "segments that every sink has passed are removed"
    await bench.journal.stop()


async def test_what_a_killed_journal_had_in_its_spool_comes_to_the_log_once(tmp_path):
    outbox = Outbox(1)
    outbox.streams[0] = [entry("1-0"), entry("2-0")]
    killed = Bench(tmp_path, outbox)
    killed.sink.full = True

    async def dies(lane, journal, position):
        raise StoreAway("it never said it")

    outbox.done, done = dies, outbox.done
    with pytest.raises(StoreAway):
        await killed.rounds(1)
    killed.spool.close()
    outbox.done = done
    outbox.owner.clear()
    outbox.streams[0].append(entry("3-0"))
    heir = Bench(tmp_path, outbox)
    await heir.rounds(2)
    assert heir.ids == ["0.1.1-0.0", "0.1.2-0.0", "0.1.3-0.0"]
    assert (outbox.streams[0], outbox.positions[0]) == ([], "3-0")
    await heir.journal.stop()


async def test_of_an_emptied_store_nothing_is_passed_over_because_of_what_the_spool_has(tmp_path):
    outbox = Outbox(1)
    outbox.streams[0] = [entry("8-0")]
    before = Bench(tmp_path, outbox)
    await before.rounds(1)
    await before.journal.stop()
    emptied = Outbox(1)
    emptied.streams[0] = [entry("3-0")]  # its clock was set back, too
    after = Bench(tmp_path, emptied)
    await after.rounds(1)
    assert after.ids == ["0.1.3-0.0"]
    await after.journal.stop()


async def test_its_figures_are_told_now_and_then(tmp_path):
    outbox = Outbox(1)
    bench = Bench(tmp_path, outbox)
    await bench.rounds(10)
    assert len(outbox.told) == 2
    told = outbox.told[-1]
    assert (told.node, told.metrics) == ("j1", bench.journal.metrics())
    assert told.metrics["spool_bytes"] == bench.spool.size
    await bench.journal.stop()


async def test_a_lost_lane_is_not_written_any_more(tmp_path):
    outbox = Outbox(1)
    bench = Bench(tmp_path, outbox)
    await bench.rounds(1)
    outbox.owner[0] = "other"
    bench.now += 6
    outbox.streams[0] = [entry("1-0")]
    await bench.rounds()
    assert bench.ids == []
    assert bench.journal.lanes == []
    await bench.journal.stop()


async def test_two_journals_share_the_lanes(tmp_path):
    outbox = Outbox(4)
    one, two = Bench(tmp_path, outbox, "j1"), Bench(tmp_path, outbox, "j2")
    for _ in range(20):
        for bench in (one, two):
            bench.now += 0.05
            await bench.journal.round()
    assert len(one.journal.lanes) == len(two.journal.lanes) == 2
    await one.journal.stop()
    await two.journal.stop()


async def test_what_could_not_be_noted_is_noted_later_and_not_written_again(tmp_path):
    outbox = Outbox(1)
    outbox.streams[0] = [entry("1-0")]
    bench, done = Bench(tmp_path, outbox), outbox.done

    async def away(lane, journal, position):
        raise StoreAway("away")

    outbox.done = away
    with pytest.raises(StoreAway):
        await bench.rounds(1)
    outbox.done = done
    await bench.rounds(1)
    assert (bench.ids, outbox.positions, outbox.streams[0]) == (["0.1.1-0.0"], {0: "1-0"}, [])
    await bench.journal.stop()
