import pytest

from mta.journal.leases import Leases
from tests.support.journal import Outbox, entry


@pytest.mark.parametrize(
    ("noted", "spooled", "stream", "from_"),
    [
        ("5-0", "0-0", [], "5-0"),
        ("5-0", "7-0", ["7-0", "8-0"], "7-0"),  # a journal was killed before it could note 7-0
        ("9-0", "7-0", ["10-0"], "9-0"),  # another journal had the lane meanwhile
        ("5-0", "7-0", ["6-5", "8-0"], "5-0"),  # the store lost 7-0: what it has now is not in the spool
        ("10-0", "9-0", [], "10-0"),  # as numbers, not as text
    ],
)
async def test_a_lane_is_read_from_the_last_entry_that_is_in_a_spool(noted, spooled, stream, from_):
    outbox = Outbox(1)
    outbox.positions[0] = noted
    outbox.streams[0] = [entry(entry_id) for entry_id in stream]
    leases = Leases(outbox, "j", lambda lane: spooled)
    await leases.keep()
    (lane,) = leases.lanes
    assert (lane.position, lane.noted) == (from_, noted)


async def test_a_lease_is_renewed_in_time_and_nothing_begins_at_its_end():
    now = [100.0]
    outbox = Outbox(1)
    leases = Leases(outbox, "j", lambda lane: "0-0", clock=lambda: now[0])
    await leases.keep()
    (lane,) = leases.lanes
    now[0] += 13.9
    assert leases.may_read(lane)
    now[0] += 0.2
    assert not leases.may_read(lane)
    await leases.keep()
    assert leases.may_read(lane)


async def test_all_lanes_held_no_other_is_looked_for():
    outbox = Outbox(1)
    leases = Leases(outbox, "j", lambda lane: "0-0", clock=lambda: 100.0)
    assert leases.next_look() < 100.0
    await leases.keep()
    assert leases.next_look() == float("inf")
    await leases.release()
    assert (leases.lanes, outbox.owner) == ([], {})


@pytest.mark.parametrize("lanes", [1, 4, 16, 256])
async def test_a_journal_alone_has_all_lanes_after_four_looks_however_many_there_are(lanes):
    now, looks = [100.0], 0
    leases = Leases(Outbox(lanes), "j", lambda source: "0-0", clock=lambda: now[0])
    while len(leases.lanes) < lanes:
        now[0] = max(now[0], leases.next_look())
        await leases.keep()
        looks += 1
    assert looks <= 4
    assert now[0] - 100.0 < 0.5
