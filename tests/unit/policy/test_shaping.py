import msgspec
import pytest

from mta.model.mail import QueueKey
from mta.model.settings import DeliverySettings, DomainSettings
from mta.policy.shaping import Shaping
from tests.support.scheduling import QUEUE, SETTINGS


def shaping(**settings):
    return Shaping(msgspec.structs.replace(SETTINGS, **settings))


def test_a_plan_has_the_limits_of_its_exact_domain_for_every_pool():
    limits = DomainSettings(
        connections=2, messages_per_connection=50, messages_per_minute=600.0, connections_per_minute=30.0
    )
    plans = shaping(domains={"example.com": limits})
    for pool in ("p", "@192.0.2.1"):
        assert plans.plan(QueueKey(pool, "example.com"))[:4] == (2, 30.0, 50, 600.0)
    for other in ("mail.example.com", "example.net"):
        assert plans.plan(QueueKey("p", other))[:4] == (0, 0.0, 0, 0.0)


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


@pytest.mark.parametrize(("retries", "back_off"), [((60.0, 300.0), 5.0), ((4.0,), 2.0)])
def test_a_failure_to_connect_is_remembered_for_less_than_the_first_retry_waits(retries, back_off):
    plan = shaping(delivery=DeliverySettings(retries=retries, max_attempts=7)).plan(QUEUE)
    assert (plan.retries, plan.max_attempts, plan.back_off) == (retries, 7, back_off)
