"""Outcomes by pool and class of the remote's reply, in a bounded set of labels."""

from mta.model.mail import QueueKey
from mta.model.outcomes import Origin, Outcome, Reply, Verdict
from mta.scheduling.queue_figures import QueueFigures
from mta.scheduling.reply_counts import MOST_POOLS, OTHERS, ReplyCounts


def outcome(code: int, origin: Origin = Origin.REMOTE) -> Outcome:
    return Outcome(Verdict.TEMPORARY, Reply(code), origin)


def test_r9_outcomes_are_counted_by_pool_and_class_of_the_reply():
    counts = ReplyCounts(QueueFigures())
    for code in (250, 250, 451, 550):
        counts.add(QueueKey("gold", "x.test"), "delivered" if code == 250 else "deferred", outcome(code))
    counts.add(QueueKey("@2001:db8::1", "x.test"), "intercepted", outcome(554, Origin.FORCED))
    counts.add(QueueKey("gold", "x.test"), "deferred", outcome(451, Origin.LOCAL))
    assert counts.metrics() == {
        "replies:delivered|2xx|gold": 2,
        "replies:deferred|4xx|gold": 1,
        "replies:deferred|5xx|gold": 1,
        "replies:deferred|none|gold": 1,
        "replies:intercepted|none|@2001:db8::1": 1,
    }


def test_r9_pools_that_clients_invent_share_one_label():
    counts = ReplyCounts(QueueFigures())
    for turn in range(2):
        for n in range(MOST_POOLS + 30):
            counts.add(QueueKey(f"@192.0.2.{n}", "x.test"), "delivered", outcome(250))
        assert counts.metrics()[f"replies:delivered|2xx|{OTHERS}"] == 30 * (turn + 1)
    assert len(counts.metrics()) == MOST_POOLS + 1
    counts.add(QueueKey("@192.0.2.99", "x.test"), "deferred", outcome(450))
    assert counts.metrics()[f"replies:deferred|4xx|{OTHERS}"] == 1
