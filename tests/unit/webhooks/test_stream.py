"""The stream of one endpoint: order for each message, whatever fails, and nothing lost when the process dies."""

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from mta.ports.history import Cursor
from mta.ports.webhooks import KeptRequest, KeptStream
from mta.webhooks.stream import Item, Request, Stream

START = KeptStream(Cursor(1, 0))


def item(place: int, message: bytes) -> Item:
    return Item(Cursor(1, place), 1000 + place, f"e{place}", message, b"{}")


def fed(messages: Sequence[bytes], batch: int = 1) -> Stream:
    stream = Stream(START, (), batch, set())
    for place, message in enumerate(messages):
        stream.append(item(place, message))
    stream.next_read = Cursor(1, len(messages))
    return stream


def places(request: Request | None) -> list[int]:
    assert request is not None
    return [one.at.place for one in request.items]


def test_of_a_message_one_request_is_under_way_and_its_later_events_wait() -> None:
    stream = fed([b"a", b"a", b"b", b"a"])
    first, second = stream.take(0), stream.take(0)
    assert (places(first), places(second)) == ([0], [2])
    assert stream.take(0) is None
    assert stream.waiting == 2
    assert first is not None
    stream.free(stream.done(first))
    assert places(stream.take(0)) == [1]
    assert stream.take(0) is None


def test_events_of_no_message_wait_for_nothing() -> None:
    stream = fed([b"", b"", b""])
    assert [places(stream.take(0)) for _ in range(3)] == [[0], [1], [2]]


def test_a_batch_takes_several_events_of_a_message_in_order() -> None:
    stream = fed([b"a", b"b", b"a", b"c"], batch=3)
    assert places(stream.take(0)) == [0, 1, 2]
    assert places(stream.take(0)) == [3]


def test_a_request_that_failed_comes_again_when_it_is_due_with_the_same_events() -> None:
    stream = fed([b"a", b"b", b"c"], batch=2)
    request = stream.take(0)
    assert request is not None
    stream.failed(request, 0, 5000)
    assert stream.next_due() == 5000
    assert stream.waiting == 2
    assert places(stream.take(4999)) == [2]
    assert stream.take(4999) is None
    again = stream.take(5000)
    assert again is request
    assert [one.body for one in request.items] == [b"", b""]  # they are read again
    stream.done(request)
    assert stream.waiting == 0


def test_the_position_is_before_what_is_in_no_request() -> None:
    stream = fed([b"a", b"b", b"a"])
    assert stream.position().at == Cursor(1, 0)
    stream.take(0)
    assert stream.position().at == Cursor(1, 1)
    stream.take(0)
    stream.take(0)  # the second event of a waits as a row of its own
    assert stream.position().at == Cursor(1, 3)
    changes = stream.changes()
    assert changes is not None
    assert sorted([event.place for event in request.events] for request in changes.put) == [[0], [1], [2]]
    stream.kept(changes)
    assert stream.changes() is None


def test_changes_that_could_not_be_kept_are_kept_with_the_next_ones() -> None:
    stream = fed([b"a"])
    stream.take(0)
    lost = stream.changes()
    assert lost is not None
    stream.not_kept(lost)
    again = stream.changes()
    assert again is not None
    assert again.put == lost.put


class Life:
    """A stream, the state that outlives its process, and a receiver that says yes or no."""

    def __init__(self, messages: Sequence[bytes], batch: int) -> None:
        self.messages = messages
        self.batch = batch
        self.kept_stream = START
        self.kept: dict[int, KeptRequest] = {}
        self.under_way: list[Request] = []
        self.received: list[int] = []  # places, in the order of their answers
        self.open_to_repeat: set[int] = set()  # answered since the state was kept last
        self.now = 0
        self.begin()

    def begin(self) -> None:
        requests = [request for _, request in sorted(self.kept.items())]
        self.stream = Stream(self.kept_stream, requests, self.batch, set())
        self.under_way = []

    def read(self, many: int) -> None:
        start = self.stream.next_read.place
        for place in range(start, min(start + many, len(self.messages))):
            self.stream.append(item(place, self.messages[place]))
            self.stream.next_read = Cursor(1, place + 1)

    def take(self) -> bool:
        request = self.stream.take(self.now)
        if request is None:
            return False
        mine = {self.messages[place] for place in places(request)} - {b""}
        others = [{self.messages[place] for place in places(other)} for other in self.under_way]
        assert not any(mine & other for other in others), "two requests of one message are under way"
        self.under_way.append(request)
        return True

    def answer(self, which: int, ok: bool) -> None:
        request = self.under_way.pop(which % len(self.under_way))
        if not ok:
            self.stream.failed(request, self.now, self.now + 5)
            return
        self.received += places(request)
        self.open_to_repeat.update(places(request))
        self.stream.free(self.stream.done(request))

    def keep(self) -> None:
        changes = self.stream.changes()
        if changes is not None:
            self.kept_stream = changes.stream
            for number in changes.drop:
                del self.kept[number]
            self.kept |= {request.number: request for request in changes.put}
            self.stream.kept(changes)
        self.open_to_repeat.clear()


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("read"), st.integers(1, 6)),
        st.tuples(st.just("take"), st.integers(1, 3)),
        st.tuples(st.just("yes"), st.integers(0, 5)),
        st.tuples(st.just("no"), st.integers(0, 5)),
        st.tuples(st.just("wait"), st.integers(1, 9)),
        st.tuples(st.just("keep"), st.just(0)),
        st.tuples(st.just("die"), st.just(0)),
    ),
    max_size=40,
)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from((b"a", b"b", b"c", b"")), max_size=24), st.integers(1, 4), STEPS)
def test_every_event_arrives_in_order_and_only_what_was_just_answered_comes_twice(
    messages: list[bytes], batch: int, steps: list[tuple[str, int]]
) -> None:
    life = Life(messages, batch)
    answered: set[int] = set()
    may_repeat: set[int] = set()

    def check(before: int) -> None:
        for place in life.received[before:]:
            assert place not in answered or place in may_repeat, "an event came twice"
            earlier = [other for other in range(place) if messages[place] and messages[other] == messages[place]]
            assert set(earlier) <= answered, "an event came before an earlier one of its message"
            answered.add(place)
            may_repeat.discard(place)

    def step(kind: str, number: int) -> None:
        before = len(life.received)
        if kind == "read":
            life.read(number)
        elif kind == "take":
            for _ in range(number):
                life.take()
        elif kind in ("yes", "no") and life.under_way:
            life.answer(number, kind == "yes")
        elif kind == "wait":
            life.now += number
        elif kind == "keep":
            life.keep()
        elif kind == "die":
            may_repeat.update(life.open_to_repeat)
            life.begin()
        check(before)

    for kind, number in steps:
        step(kind, number)
    for _ in range(200):
        life.now += 10
        step("read", 50)
        while life.take():
            pass
        while life.under_way:
            step("yes", 0)
        step("keep", 0)
        if life.stream.is_empty and life.stream.next_read.place == len(messages):
            break
    assert answered == set(range(len(messages))), "an event was lost"
    assert not life.kept
    assert life.stream.waiting == 0
