"""Decisions of brakes: what counts, the limit, the rule."""

import msgspec
import pytest

from mta.model.brakes import Attempted, Brake, Metric, Pull, RateCount
from mta.model.rules import Kind, Rule, Selectors
from mta.policy.brakes import Watched, is_beyond, reason_of, rule_of

PAUSE = Rule("", Selectors(tag="any"), kind=Kind.PAUSE)
DELIVERED = Attempted(1, ("red", "blue"), "default", True, False, "")
BOUNCED = Attempted(2, ("red",), "gold", True, True, "bad_mailbox")
REFUSED = Attempted(3, ("red", "red\0acme"), "default", True, True, "policy")
EXPIRED = Attempted(4, ("red",), "default", True, False, "ip_block")
DEFERRED = Attempted(5, ("red",), "default", False, False, "ip_block")
ALL = (DELIVERED, BOUNCED, REFUSED, EXPIRED, DEFERRED)


def brake(metric: Metric = Metric.HARD_BOUNCE, least: int = 80, **more: object) -> Brake:
    made = Brake("b1", metric, 0.05, least, 600.0, PAUSE, tag="red")
    return msgspec.structs.replace(made, **more)


@pytest.mark.parametrize(
    ("metric", "hits", "counted"),
    [
        (Metric.HARD_BOUNCE, [2, 3], [1, 2, 3, 4]),
        (Metric.UNKNOWN_USER, [2], [1, 2, 3, 4]),
        (Metric.BLOCK, [3, 4], [1, 2, 3, 4]),
        (Metric.DEFERRAL, [5], [1, 2, 3, 4, 5]),
    ],
)
def test_each_metric_counts_its_failures_by_ends_or_by_attempts(
    metric: Metric, hits: list[int], counted: list[int]
) -> None:
    (found,) = Watched([brake(metric)], 4).counts(ALL)
    assert found == RateCount("red", "b1", 60_000, 10, counted, hits)


def test_pool_and_tenant_narrow_what_is_counted() -> None:
    (found,) = Watched([brake(pool="gold")], 4).counts(ALL)
    assert found.counted == [2]
    (found,) = Watched([brake(tenant="acme")], 4).counts(ALL)
    assert (found.name, found.counted) == ("red\0acme", [3])


def test_a_brake_for_a_site_counts_the_mail_to_it_only() -> None:
    to_google = BOUNCED._replace(site="google")
    watched = Watched([brake(site="google")], 4)
    assert watched.asks_sites
    (found,) = watched.counts((DELIVERED, to_google, REFUSED))
    assert (found.counted, found.hits) == ([2], [2])
    assert not Watched([brake()], 4).asks_sites


def test_each_tag_is_counted_by_itself_those_of_other_tenants_not() -> None:
    found = Watched([brake(tag="")], 4).counts(ALL)
    assert {count.name: count.counted for count in found} == {"red": [1, 2, 3, 4], "blue": [1]}
    found = Watched([brake(tag="", tenant="acme")], 4).counts(ALL)
    assert [count.name for count in found] == ["red\0acme"]


def test_several_brakes_count_the_same_mail() -> None:
    other = msgspec.structs.replace(brake(tag=""), id="b2")
    found = Watched([brake(), other], 4).counts((DELIVERED,))
    assert sorted((count.brake, count.name) for count in found) == [("b1", "red"), ("b2", "blue"), ("b2", "red")]


def test_without_brakes_nothing_is_watched() -> None:
    assert not Watched()
    assert Watched([brake(tag="other")]).counts(ALL) == []


@pytest.mark.parametrize(("least", "lanes", "wanted"), [(1000, 4, 125), (3, 4, 1), (1, 256, 1), (10, 1, 5)])
def test_counting_begins_at_a_half_of_a_lanes_share_of_the_least_number(least: int, lanes: int, wanted: int) -> None:
    (found,) = Watched([brake(least=least)], lanes).counts((DELIVERED,))
    assert found.least == wanted


@pytest.mark.parametrize(
    ("hits", "counted", "beyond"), [(4, 79, False), (4, 80, False), (5, 80, True), (79, 79, False), (0, 80, False)]
)
def test_a_brake_is_pulled_beyond_its_ratio_and_never_below_its_least_number(
    hits: int, counted: int, beyond: bool
) -> None:
    assert is_beyond(brake(), hits, counted) is beyond


def test_the_rule_of_a_pull_is_the_same_whoever_makes_it() -> None:
    order = brake(lasts=60.0, owner="acme")
    pull = Pull("b1", "red", "", 1, 1_700_000_000_000, 6, 80)
    rule = rule_of(order, pull)
    assert rule == rule_of(order, msgspec.structs.replace(pull, told=True))
    assert (rule.selectors.tag, rule.created_by, rule.owner) == ("red", "brake:b1", "acme")
    assert rule.expires_at == pull.at + 60_000
    ids = {rule_of(order, one).id for one in (pull, msgspec.structs.replace(pull, number=2))}
    ids.add(rule_of(order, msgspec.structs.replace(pull, tag="blue")).id)
    assert len(ids) == 3


def test_the_reason_has_the_figures() -> None:
    order = brake(rule=msgspec.structs.replace(PAUSE, reason="call Ann"))
    said = reason_of(order, Pull("b1", "red", "", 1, 0, 6, 80))
    assert said == (
        "6 of 80 deliveries that ended are hard bounces within 10m: 7.5 %, above the limit of 5 %. call Ann"
    )
