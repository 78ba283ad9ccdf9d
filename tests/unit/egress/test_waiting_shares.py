"""Transactions of several shares in one outlet: they take turns by weight, and in a share go as they came."""

from mta.egress.waiting import Waiting
from mta.model.ids import delivery_id, new_message_id
from mta.model.mail import Claimed, QueueKey, Record

QUEUE = QueueKey("default", "example.com")


def claims(share: str, count: int) -> list[Claimed]:
    record = Record("a@x", "b@example.com", (), 1, 0, 1 << 50)
    names = [delivery_id(new_message_id(0, 1 + number), 1) for number in range(count)]
    return [Claimed(name, b"1", QUEUE, record, b"x", share=share) for name in names]


def drain(waiting: Waiting, most: int) -> list[str]:
    taken = []
    while len(taken) < most and (first := waiting.first()) is not None:
        taken.append(waiting.pop(first).share)
    return taken


def test_a_share_that_comes_later_does_not_wait_for_those_before():
    waiting = Waiting()
    waiting.add(claims("", 1000))
    assert drain(waiting, 10) == [""] * 10
    waiting.add(claims("acme", 1))
    waiting.add(claims(".2", 1))
    assert set(drain(waiting, 3)) >= {"acme", ".2"}
    assert (len(waiting), waiting.ready, waiting.deliveries) == (989, 989, 989)


def test_weights_decide_and_none_starves():
    waiting = Waiting()
    waiting.add(claims("", 100))
    waiting.add(claims(".2", 100))
    taken = drain(waiting, 85)
    assert (taken.count(".2"), taken.count("")) == (80, 5)
    drain(waiting, 1000)
    assert (len(waiting), waiting.first()) == (0, None)


def test_what_is_put_back_is_the_first_of_its_share():
    waiting = Waiting()
    waiting.add([*claims("acme", 3)])
    first = waiting.pop(waiting.first())
    waiting.put_back(first)
    assert waiting.first() is first
    assert (waiting.ready, waiting.deliveries) == (3, 3)
    assert [one.share for one in waiting.take_all()] == ["acme"] * 3
    assert (len(waiting), waiting.ready, waiting.deliveries) == (0, 0, 0)
