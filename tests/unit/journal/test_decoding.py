import msgspec
import pytest

from mta.journal.decoding import PIECE, Decoder
from mta.model.events import Event, EventType
from tests.support.journal import GOOD, Bench, Outbox, delivery, entry


@pytest.mark.parametrize("bad", [b"\xc1junk", msgspec.msgpack.encode(Event(EventType.DELIVERY, 5, b"short"))])
async def test_an_undecodable_event_becomes_a_line_and_does_not_stop_the_rest(tmp_path, bad):
    outbox = Outbox(1)
    outbox.streams[0] = [entry("7-0", bad, GOOD)]
    bench = Bench(tmp_path, outbox)
    await bench.rounds(1)
    (_, gap), (_, good) = bench.sink.got
    assert (gap.type, gap.time, good.type) == (EventType.GAP, 7, EventType.DELIVERY)
    assert gap.properties == {"raw": bad.hex()}
    assert bench.journal.metrics()["journal_undecodable"] == 1
    await bench.journal.stop()


def test_events_come_in_order_and_a_bounded_number_at_a_time():
    entries = [("3", entry(f"{n}-0", *[delivery(f"{n}.{at}") for at in range(30)])) for n in range(1, 8)]
    pieces = list(Decoder().pieces(entries))
    assert [len(piece.items) for piece in pieces] == [120, 90]  # whole entries, as soon as they have enough
    assert all(len(piece.items) <= PIECE + 30 for piece in pieces)
    assert [sum(piece.counts) for piece in pieces] == [120, 90]
    assert [sourced for piece in pieces for sourced in piece.entries] == entries
    items = [item for piece in pieces for item in piece.items]
    assert [event_id for event_id, _ in items] == [f"3.{n}-0.{at}" for n in range(1, 8) for at in range(30)]
    assert [event.text for _, event in items] == [f"{n}.{at}" for n in range(1, 8) for at in range(30)]
