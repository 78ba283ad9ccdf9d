from mta.model.events import EventType
from tests.support.journal import Bench, Outbox, entry


async def test_far_behind_it_drops_only_when_told_to_and_leaves_a_gap_record(tmp_path):
    for when, want in (("refuse", 10), ("drop", 3)):
        outbox = Outbox(1)
        bench = Bench(tmp_path / when, outbox, when_behind=when, backlog_soft=2, backlog_hard=5)
        await bench.rounds(1)
        outbox.streams[0] = [entry(f"1-{n}") for n in range(10)]
        await bench.rounds(1)
        assert len(bench.ids) == want
        assert bench.journal.metrics()["journal_dropped"] == 10 - want + (when == "drop")
        assert (bench.sink.got[0][1].type is EventType.GAP) == (when == "drop")
        await bench.journal.stop()
