"""Live events: a watcher that comes back is told everything that happened meanwhile."""

from tests.support.node import until
from tests.support.node_and_sink import NodeAndSink
from tests.support.rest import watching

WATCHED = "fg:{journal}:watched"


def test_d14_a_watcher_resumes_though_nobody_watched_for_a_while(place: NodeAndSink) -> None:
    """The live stream is written only while somebody watches; history has the rest."""
    with watching(place.api, "?tag=e1&type=Delivery") as stream:
        place.node.send("a@e1.test", ("e1",))
        until(lambda: stream.events, what="the first delivery is told")
        (last_id, _, first), *_ = stream.events
    assert place.valkey is not None
    place.valkey.ask("DEL", WATCHED)  # as after a minute without a watcher
    sent = place.node.send([f"u{number}@e1.test" for number in range(20)], ("e1",))
    place.rests("e1", delivered=21)
    with watching(place.api, "?tag=e1&type=Delivery", last_id) as stream:
        until(lambda: len(stream.events) >= 20, what=lambda: f"{len(stream.events)} of 20 are told")
        later = place.node.send("z@e1.test", ("e1",))
        until(lambda: len(stream.events) >= 21, what="and it goes on live")
        told = [data["message_id"] for _, _, data in stream.events]
        assert sorted(told) == sorted([*sent, *later])
        assert first["message_id"] not in told
        middle = stream.events[9][0]
    with watching(place.api, "?tag=e1&type=Delivery", middle) as stream:
        until(lambda: len(stream.events) >= 11, what="a stream that broke in the middle goes on there")
        events = {data["event"] for _, _, data in stream.events}
        assert len(events) == 11
