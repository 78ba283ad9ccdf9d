import msgspec

from mta.model.events import EventType
from mta.model.rule_events import RuleEvent
from mta.ports.journal import RULES_LANE
from mta.spool_files.spool import FileSpool
from tests.support.journal import Bench, Outbox, entry

IDS = [f"rules.1.{n}-0.0" for n in range(1, 10)]


def change(n: int):
    return entry(f"{n}-0", msgspec.msgpack.encode(RuleEvent(EventType.RULE, n, actor="admin")))


async def rounds(*benches: Bench, count: int = 4) -> None:
    for _ in range(count):
        for bench in benches:
            await bench.rounds(1)


async def test_each_node_has_every_event_of_the_rule_table_once_and_watchers_see_it_once(tmp_path):
    outbox = Outbox(1)
    one = Bench(tmp_path, outbox, "n1", watched=True)
    await one.rounds()
    assert outbox.owner[RULES_LANE] == "n1"
    two = Bench(tmp_path, outbox, "n2", watched=True)
    for n in (1, 2, 3):
        outbox.streams[RULES_LANE].append(change(n))
        await rounds(one, two, count=2)
    await rounds(one, two)
    assert one.ids == two.ids == IDS[:3]
    assert [event_id for event_id, _ in one.tail.events] == IDS[:3]
    assert two.tail.events == []
    assert {event.actor for _, event in two.sink.got} == {"admin"}
    assert outbox.copied_by == {"n1": "3-0", "n2": "3-0"}
    assert outbox.positions[RULES_LANE] == "3-0"
    await one.journal.stop()
    await two.journal.stop()


async def test_what_nobody_has_counted_yet_is_not_copied(tmp_path):
    """Or the journal that takes the lease would count what is in its spool already, or leave it out."""
    outbox = Outbox(1)
    outbox.owner[RULES_LANE] = "another"
    outbox.streams[RULES_LANE] = [change(1), change(2), change(3)]
    outbox.positions[RULES_LANE] = "2-0"
    bench = Bench(tmp_path, outbox, "n1", watched=True)
    await bench.rounds()
    assert bench.ids == IDS[:2]
    del outbox.owner[RULES_LANE]
    await bench.rounds()
    assert bench.ids == IDS[:3]
    assert [event_id for event_id, _ in bench.tail.events] == IDS[2:3], "the others were shown by who counted them"
    await bench.journal.stop()


async def test_a_journal_goes_on_where_the_one_before_it_was_and_with_another_spool_where_it_was_noted(tmp_path):
    outbox = Outbox(1)
    outbox.owner[RULES_LANE] = "another"
    outbox.streams[RULES_LANE] = [change(n) for n in range(1, 5)]
    outbox.positions[RULES_LANE] = "2-0"
    first = Bench(tmp_path, outbox, "n1")
    await first.rounds()
    await first.journal.stop()
    outbox.copied_by["n1"] = "1-0"  # killed before it could note more
    outbox.positions[RULES_LANE] = "3-0"
    second = Bench(tmp_path, outbox, "n1")  # its spool has 1 and 2
    await second.rounds()
    assert second.ids == IDS[2:3], "the others are in the log already"
    await second.journal.stop()
    outbox.positions[RULES_LANE] = "4-0"
    outbox.copied_by["n1"] = "3-0"
    third = Bench(tmp_path / "another disk", outbox, "n1")
    await third.rounds()
    assert third.ids == IDS[3:4]
    await third.journal.stop()


async def test_a_spool_of_another_store_says_nothing_of_this_one(tmp_path):
    spool = FileSpool(str(tmp_path / "n1"), 1 << 30)
    spool.append([("rules.1", change(9))])
    spool.note("log", spool.end)
    spool.close()
    outbox = Outbox(1)
    outbox.streams[RULES_LANE] = [change(1), change(2)]
    bench = Bench(tmp_path, outbox, "n1")
    await bench.rounds()
    assert bench.ids == IDS[:2]
    await bench.journal.stop()


async def test_a_journal_that_lost_the_lease_copies_behind_what_it_had_counted(tmp_path):
    outbox = Outbox(1)
    outbox.streams[RULES_LANE] = [change(1)]
    bench = Bench(tmp_path, outbox, "n1")
    await bench.rounds()
    outbox.owner[RULES_LANE] = "another"
    outbox.streams[RULES_LANE] += [change(2), change(3)]
    outbox.positions[RULES_LANE] = "3-0"
    bench.now += 6
    await bench.rounds()
    assert bench.ids == IDS[:3]
    await bench.journal.stop()


async def test_a_failover_raises_the_epoch_and_nothing_that_comes_afterwards_is_missing_anywhere(tmp_path):
    outbox = Outbox(1)
    outbox.streams[RULES_LANE] = [change(1), change(2), change(3)]
    one, two = Bench(tmp_path, outbox, "n1"), Bench(tmp_path, outbox, "n2")
    await one.rounds()
    await rounds(one, two)
    assert one.ids == two.ids == IDS[:3]
    del outbox.streams[RULES_LANE][1:]  # the new master has less
    one.now, two.now = one.now + 6.0, two.now + 6.0
    await rounds(one, two)
    outbox.streams[RULES_LANE].append(change(4))
    await rounds(one, two)
    kinds = [event.type for _, event in one.sink.got]
    assert kinds == [EventType.RULE] * 3 + [EventType.GAP, EventType.RULE]
    assert one.ids[-1] == two.ids[-1] == "rules.2.4-0.0"
    assert len(two.ids) == 4
    await one.journal.stop()
    await two.journal.stop()
