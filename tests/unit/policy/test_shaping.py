import msgspec
import pytest

from mta.model.destination_settings import DomainSettings, LimitSettings, SiteSettings
from mta.model.limit_orders import LimitOrder
from mta.model.mail import QueueKey
from mta.model.paths import SendingPath
from mta.model.settings import DeliverySettings
from mta.policy.limits_in_force import limits_in_force
from mta.policy.shaping import Budget, Shaping
from tests.support.scheduling import QUEUE, SETTINGS


def shaping(**settings):
    return Shaping(msgspec.structs.replace(SETTINGS, **settings))


LIMITS = {
    "connections": 2,
    "messages_per_connection": 50,
    "messages_per_minute": 600.0,
    "connections_per_minute": 30.0,
}


def test_a_plan_has_the_limits_of_its_exact_domain_for_every_pool():
    plans = shaping(domains={"example.com": DomainSettings(**LIMITS)})
    for pool in ("p", "@192.0.2.1"):
        plan = plans.plan(QueueKey(pool, "example.com"))
        budget = Budget(f"domain:{pool}:example.com", 'domains."example.com"', 2, 30.0, 600.0)
        assert (plan.budgets, plan.messages_per_connection) == ((budget,), 50)
    for other in ("mail.example.com", "example.net"):
        assert plans.plan(QueueKey("p", other), "big")[:3] == ((), None, 0)


def test_a_pattern_is_of_each_domain_below_its_parent_and_the_longest_one_counts():
    plans = shaping(
        domains={"*.example.com": DomainSettings(connections=1), "*.eu.example.com": DomainSettings(connections=2)}
    )
    found = {
        domain: [budget.connections for budget in plans.plan(QueueKey("p", domain)).budgets]
        for domain in ("example.com", "a.example.com", "a.eu.example.com", "b.a.eu.example.com")
    }
    assert found == {"example.com": [], "a.example.com": [1], "a.eu.example.com": [2], "b.a.eu.example.com": [2]}


def test_mail_needs_a_share_of_each_budget_of_its_path():
    plans = shaping(
        sites={"big": SiteSettings(connections=5, messages_per_connection=20, per_ip=LimitSettings(**LIMITS))},
        domains={"example.com": DomainSettings(connections=3, messages_per_connection=30)},
    )
    plan = plans.plan(QueueKey("p", "example.com"), "big")
    assert (plan.messages_per_connection, plan.carried_setting, plan.limits_ips) == (20, "sites.big", True)
    site, domain = (
        Budget("site", "sites.big", 5, 0, 0),
        Budget("domain:p:example.com", 'domains."example.com"', 3, 0, 0),
    )
    for ip, scope in (("192.0.2.1", "ip:192.0.2.1"), ("", f"node:{SETTINGS.node.name}")):
        own = Budget(scope, "sites.big.per_ip", 2, 30.0, 600.0)
        assert plans.budgets(SendingPath("big", "example.com", "p", ip)) == (site, domain, own)
    assert plans.budgets(SendingPath("big", "example.net", "q")) == (
        site,
        Budget(f"node:{SETTINGS.node.name}", "sites.big.per_ip", 2, 30.0, 600.0),
    )


@pytest.mark.parametrize(
    ("limits", "limited"),
    [
        ({}, False),
        ({"connections": 1}, True),
        ({"connections_per_minute": 1.0}, True),
        ({"messages_per_minute": 1.0}, False),
    ],
)
def test_connections_are_limited_by_their_number_or_their_rate(limits, limited):
    assert shaping(domains={QUEUE.domain: DomainSettings(**limits)}).plan(QUEUE).limits_connections is limited


def test_c103_the_schedule_is_that_of_the_domain_else_of_the_site_else_of_the_node():
    plans = shaping(
        delivery=DeliverySettings(retries=(60.0,), max_age=1000.0),
        domains={"own.test": DomainSettings(retries=(2.0,), max_age=100.0), "limited.test": DomainSettings(**LIMITS)},
        sites={"big": SiteSettings(retries=(4.0,), max_age=200.0)},
    )

    def found(domain, site=""):
        plan = plans.plan(QueueKey("p", domain), site)
        return plan.retries, plan.back_off, plan.max_age_ms, plan.sooner_ms

    assert found("own.test", "big") == ((2.0,), 1.0, 100_000, 900_000)
    assert found("limited.test", "big") == found("other.test", "big") == ((4.0,), 2.0, 200_000, 800_000)
    assert found("limited.test") == found("other.test", "small") == ((60.0,), 5.0, 0, 0)


@pytest.mark.parametrize(("retries", "back_off"), [((60.0, 300.0), 5.0), ((4.0,), 2.0)])
def test_a_failure_to_connect_is_remembered_for_less_than_the_first_retry_waits(retries, back_off):
    plan = shaping(delivery=DeliverySettings(retries=retries, max_attempts=7)).plan(QUEUE)
    assert (plan.retries, plan.max_attempts, plan.back_off) == (retries, 7, back_off)


def test_the_least_value_of_table_and_orders_holds_and_says_whose_it_is():
    plans = shaping(sites={"big": SiteSettings(connections=5, messages_per_minute=60.0)})
    mine = LimitOrder(site="big", connections=9, messages_per_minute=10.0, until=100)
    other = LimitOrder(site="big", connections=3, reaction="r")
    queue = QueueKey("p", "d.test")
    assert plans.adopt({}, 1) is None
    assert plans.adopt({mine.id: mine, other.id: other}, 1) == [("big", "site")]
    assert plans.adopt({mine.id: mine, other.id: other}, 2) is None
    assert plans.plan(queue, "big").budgets == (Budget("site", "sites.big", 3, 0.0, 10.0, "", (other.id, "", mine.id)),)
    assert plans.adopt({other.id: other, mine.id: mine}, 100) == [], "one is over, which widens a limit"
    assert plans.plan(queue, "big").budgets[0][2:5] == (3, 0.0, 60.0)


def test_orders_reach_sites_without_settings_and_single_pools_and_ips():
    plans = shaping()
    orders = [
        LimitOrder(site="big", pool="p", closed=True),
        LimitOrder(site="big", ip="192.0.2.1", messages_per_minute=1.0),
        LimitOrder(site="big", ip="node:" + SETTINGS.node.name, connections=1),
    ]
    plain = plans.plan(QueueKey("q", "d.test"), "big")
    plans.adopt({order.id: order for order in orders}, 1)
    plan = plans.plan(QueueKey("q", "d.test"), "big")
    assert plan.limits_ips
    assert not plan.asks_like(plain)
    assert plans.plan(QueueKey("q", "d.test"), "small").asks_like(plain)
    path = SendingPath("big", "d.test", "q", "192.0.2.1")
    assert [budget.messages_per_minute for budget in plans.budgets(path)] == [1.0]
    assert plans.budgets(path._replace(ip="192.0.2.9")) == ()
    assert [budget.connections for budget in plans.budgets(path._replace(ip=""))] == [1]
    assert next(budget.closed for budget in plans.budgets(path._replace(pool="p"))) == orders[0].id


def test_orders_bound_the_messages_of_a_connection_for_the_site_a_pool_or_one_ip() -> None:
    plans = shaping(sites={"big": SiteSettings(messages_per_connection=20)})
    of_site = LimitOrder(site="big", messages_per_connection=10)
    of_ip = LimitOrder(site="big", ip="192.0.2.1", messages_per_connection=2)
    of_pool = LimitOrder(site="big", pool="other", messages_per_connection=1)
    assert plans.adopt({order.id: order for order in (of_site, of_ip, of_pool)}, 0) == []
    plan = plans.plan(QUEUE, "big")
    assert (plan.messages_per_connection, plan.carried_setting) == (10, of_site.id)
    assert [plan.most_carried(scope) for scope in ("ip:192.0.2.1", "ip:192.0.2.2")] == [2, 10]
    assert not plan.is_limited, "no share is needed for it"
    shown = limits_in_force(plan, {}, 0)
    assert [(one.scope, one.value, one.order) for one in shown] == [
        ("queue", 10, of_site.id), ("ip:192.0.2.1", 2, of_ip.id),
    ]  # fmt: skip
    assert plans.plan(QUEUE, "small").most_carried("ip:192.0.2.1") == 0
