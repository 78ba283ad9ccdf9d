import logging

import pytest

from mta.model.mail import QueueKey
from mta.model.outcomes import ReturnReason
from mta.scheduling.returns import Returns, returned_lately
from tests.support.scheduling import QUEUE, a_claim

OTHER = QueueKey("@2001:db8::1", "example.net")
SLOT, STOPPING = ReturnReason.NO_SLOT, ReturnReason.STOPPING


class Clock:
    now = 1_800_000_000_000

    def __call__(self):
        return self.now


def test_returns_are_told_by_queue_and_reason_and_added_up_over_the_workers():
    one, two = Returns(), Returns()
    for returns in (one, two):
        returns.add(a_claim(), SLOT)
    two.add(a_claim(), STOPPING)
    two.add(a_claim(queue=OTHER), STOPPING)
    found = returned_lately([one.metrics(), two.metrics(), {"claimed": 7.0}])
    assert found == {QUEUE: {SLOT: 2, STOPPING: 1}, OTHER: {STOPPING: 1}}


def test_a_reason_of_another_release_is_passed_over():
    assert returned_lately([{"returned:moonphase:p|example.com": 3.0}]) == {}


def test_a_return_is_told_for_thirty_seconds_at_least_and_for_a_minute_at_most():
    clock = Clock()
    returns = Returns(clock)
    clock.now += 29_000
    returns.add(a_claim(), SLOT)
    for seconds, told in ((1, 1), (29, 1), (2, 0)):
        clock.now += seconds * 1000
        assert sum(returns.metrics().values()) == told


def test_a_return_of_long_ago_is_not_told_when_nobody_asked_for_long():
    clock = Clock()
    returns = Returns(clock)
    returns.add(a_claim(), SLOT)
    clock.now += 60_000
    assert returns.metrics() == {}


def test_at_most_a_hundred_pairs_are_remembered():
    returns = Returns()
    for number in range(150):
        returns.add(a_claim(queue=QueueKey("p", f"d{number}.test")), SLOT)
    assert len(returns.metrics()) == 100


def test_the_log_says_it_at_the_debug_level(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG, "mta.scheduling.returns")
    Returns().add(a_claim(), SLOT)
    (line,) = caplog.messages
    assert line.endswith(
        "to example.com is back in its queue: other workers hold every connection that the limits allow"
    )
