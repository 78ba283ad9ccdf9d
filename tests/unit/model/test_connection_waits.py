"""Deliveries that wait for a connection, as workers tell them and the API reads them."""

from mta.model.connection_waits import read_waits, told_waits
from mta.model.mail import QueueKey

ONE, TWO = QueueKey("default", "one.test"), QueueKey("@2001:db8::1", "[IPv6:2001:db8::2]")


def test_o7_waits_of_all_workers_add_up():
    workers = [told_waits([(ONE, 2), (TWO, 1)]), told_waits([(ONE, 3), (QueueKey("a", "b"), 0)]), {"claimed": 7}]
    assert read_waits(workers) == {ONE: 5, TWO: 1}


def test_a_worker_names_the_hundred_queues_with_most():
    told = told_waits((QueueKey("default", f"{n}.test"), n) for n in range(150))
    assert len(told) == 100
    assert told["waits:default|149.test"] == 149
    assert "waits:default|49.test" not in told
