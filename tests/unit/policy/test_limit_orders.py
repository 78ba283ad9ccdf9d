import pytest

from mta.model.limit_orders import LimitOrder
from mta.model.paths import SendingPath
from mta.policy.limit_orders import Scope, in_force, ordered, tightened

HOUR = 3_600_000
CLOSED = LimitOrder(site="big", closed=True, since=0, until=HOUR, eases_ms=HOUR, reaction="r")
FEWER = LimitOrder(site="big", ip="192.0.2.1", connections=2, messages_per_minute=1.0, until=HOUR, eases_ms=HOUR)


def test_an_order_eases_by_halves_with_each_tenth_of_its_time():
    tenth = HOUR // 10
    seen = [ordered(FEWER, HOUR + number * tenth).connections for number in range(10)]
    assert seen == [2 * 2**step for step in range(1, 11)]
    assert ordered(FEWER, HOUR - 1)[1:5] == (False, 2, 0.0, 1.0)
    assert ordered(FEWER, HOUR + HOUR - 1).messages_per_minute == 1024.0
    assert ordered(FEWER, 2 * HOUR) is None


def test_a_closed_site_opens_with_one_connection():
    assert ordered(CLOSED, HOUR - 1)[1:5] == (True, 0, 0.0, 0.0)
    assert ordered(CLOSED, HOUR)[1:5] == (False, 1, 0.0, 0.0)
    assert ordered(CLOSED, HOUR + HOUR // 10)[1:5] == (False, 2, 0.0, 0.0)


def test_an_order_that_eases_no_time_is_over_at_once():
    assert ordered(LimitOrder(site="s", connections=1, until=5), 5) is None
    assert ordered(LimitOrder(site="s", connections=1), 1 << 50).connections == 1


def test_orders_of_one_author_for_one_part_of_a_site_have_one_id():
    assert LimitOrder(site="s", connections=1).id == LimitOrder(site="s", closed=True, by="x").id
    parts = {LimitOrder(**part).id for part in (
        {"site": "s"}, {"site": "s", "pool": "p"}, {"site": "s", "ip": "p"}, {"site": "s", "reaction": "p"},
        {"site": "t"},
    )}  # fmt: skip
    assert len(parts) == 5


@pytest.mark.parametrize(
    ("before", "after", "tighter"),
    [
        ((), (FEWER,), True),
        ((FEWER,), (), False),
        ((FEWER,), (LimitOrder(site="big", ip="192.0.2.1", connections=3),), False),
        ((LimitOrder(site="big", ip="192.0.2.1", connections=3),), (FEWER,), True),
        ((FEWER,), (LimitOrder(site="big", ip="192.0.2.1", closed=True),), True),
    ],
)
def test_tighter_limits_are_told_from_wider_ones(before, after, tighter):
    old, new = (in_force({order.id: order for order in some}, 1) for some in (before, after))
    assert tightened(old, new) == [Scope("big", "ip:192.0.2.1")] * tighter


def test_a_scope_has_the_paths_that_its_limits_are_about():
    path = SendingPath("big", "d.test", "p", "192.0.2.1")
    for scope in ("site", "pool:p", "ip:192.0.2.1"):
        assert Scope("big", scope).has(path, "n1")
    for scope in ("pool:q", "ip:192.0.2.2", "node:n1"):
        assert not Scope("big", scope).has(path, "n1")
    assert not Scope("other", "site").has(path, "n1")
    assert Scope("big", "node:n1").has(path._replace(ip=""), "n1")
    assert not Scope("big", "node:n2").has(path._replace(ip=""), "n1")
