"""The rate and the last failure of a queue, as workers tell them."""

from mta.model.mail import QueueKey
from mta.model.outcomes import Origin, Outcome, Reply, ReturnReason, Verdict
from mta.model.queue_figures import MOST_FAILURES, MOST_RATES, Failure, read_failures, read_rates
from mta.scheduling.queue_figures import QueueFigures
from mta.scheduling.reply_counts import ReplyCounts
from tests.support.scheduling import QUEUE

SIX = QueueKey("@2001:db8::1", "[IPv6:2001:db8::2]")


class Clock:
    now = 1_800_000_000_000

    def __call__(self) -> int:
        return self.now


def outcome(code: int, text: str = "", origin: Origin = Origin.REMOTE, mx: str = "mx.test") -> Outcome:
    return Outcome(Verdict.TEMPORARY, Reply(code, "4.7.1", text), origin, mx=mx)


def test_rates_are_deliveries_a_minute_of_all_workers_together() -> None:
    clock = Clock()
    one, two = QueueFigures(clock), QueueFigures(clock)
    counts = ReplyCounts(one)
    for _ in range(20):
        counts.add(QUEUE, "delivered", outcome(250))
    counts.add(QUEUE, "deferred", outcome(451))
    two.delivered(QUEUE, 10)
    two.delivered(SIX, 5)
    clock.now += 30_000
    counts.metrics()
    told = read_rates([one.metrics(), two.metrics(), {"claimed": 3.0}])
    assert (told.of(QUEUE), told.of(SIX)) == (60.0, 10.0)
    assert told.of(QueueKey("default", "quiet.test")) == 0.0
    clock.now += 29_000
    assert read_rates([two.metrics()]).of(SIX) == 5.08, "five in 59 s"
    clock.now += 1_000
    assert read_rates([two.metrics()]).of(SIX) == 0.0


def test_a_worker_with_many_queues_tells_of_the_fastest_and_the_rest_is_not_known() -> None:
    figures = QueueFigures()
    for number in range(MOST_RATES + 20):
        figures.delivered(QueueKey("default", f"d{number}.test"), number + 1)
    told = read_rates([figures.metrics()])
    assert len(told.rates) == MOST_RATES
    assert told.of(QueueKey("default", "d119.test"))
    assert told.of(QueueKey("default", "d0.test")) is None


def test_the_newest_failure_of_a_queue_is_told_with_its_host() -> None:
    clock = Clock()
    one, two = QueueFigures(clock), QueueFigures(clock)
    one.failed(QUEUE, outcome(451, "a|b"))
    clock.now += 1000
    two.failed(QUEUE, outcome(421, "busy", mx="m|x"))
    two.failed(SIX, outcome(451, "no answer", Origin.LOCAL, ""))
    found = read_failures([one.metrics(), two.metrics(), {"failure:p|d": 1.0}])
    assert found[QUEUE] == Failure(clock.now / 1000, "m?x", Reply(421, "4.7.1", "busy"))
    assert found[SIX].reply.text == "no answer"
    assert read_failures([one.metrics()])[QUEUE].reply.text == "a|b"
    clock.now += 600_000
    assert read_failures([one.metrics()]) == {}


def test_a_forced_error_and_a_return_are_no_failures_of_the_destination() -> None:
    figures = QueueFigures()
    figures.failed(QUEUE, outcome(450, "paused", Origin.FORCED))
    back = Outcome(Verdict.RETURNED, Reply(0), Origin.LOCAL, returned=ReturnReason.NO_SLOT)
    figures.failed(QUEUE, back)
    assert read_failures([figures.metrics()]) == {}


def test_the_queues_that_failed_last_are_told() -> None:
    figures = QueueFigures()
    for number in range(MOST_FAILURES + 10):
        figures.failed(QueueKey("default", f"d{number}.test"), outcome(451))
    figures.failed(QueueKey("default", "d12.test"), outcome(452))
    found = read_failures([figures.metrics()])
    assert len(found) == MOST_FAILURES
    assert found[QueueKey("default", "d12.test")].reply.code == 452
    assert QueueKey("default", "d9.test") not in found
