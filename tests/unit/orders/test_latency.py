"""How long orders took: cumulative, each counted once."""

from mta.orders.latency import BOUNDS, Latency


def test_orders_fall_into_the_first_bound_that_holds_them():
    latency = Latency()
    for seconds, by_time in ((0.005, False), (0.006, False), (5.5, True), (1000.0, True)):
        latency.observe(seconds, by_time)
    figures = latency.figures(3)
    within = dict(figures.within)
    assert tuple(within) == BOUNDS
    assert (within[0.005], within[0.01], within[5.0], within[10.0], within[60.0]) == (1, 2, 2, 3, 3)
    assert (figures.pending, figures.in_time, figures.by_time) == (3, 2, 2)
    assert figures.seconds == 0.005 + 0.006 + 5.5 + 1000.0
