"""Explanations and limits over REST."""

import msgspec
import pytest
from aiohttp.test_utils import TestClient

from mta.model.destination_settings import DomainSettings
from mta.model.limit_use import LimitUse
from mta.model.mail import QueueKey
from mta.model.rules import Kind, Rule, Selectors
from mta.timing.clock import wall_ms
from tests.support.control_api import Cluster, counts_of, dependencies

USE = ("example.com", "domain:default:example.com")  # site and scope of its limits
QUEUE = QueueKey("default", "example.com")
PATH = "/v1/explain?pool=default&domain=example.com&tag=red"


@pytest.fixture
def limited(cluster: Cluster) -> Cluster:
    """Before the application is made."""
    domains = {"example.com": DomainSettings(connections=2, messages_per_minute=60.0)}
    cluster.settings = msgspec.structs.replace(cluster.settings, domains=domains)
    return cluster


async def test_o12_the_rule_that_decides_is_named_and_each_other_says_why_not(
    api: TestClient, cluster: Cluster
) -> None:
    cluster.rules = {
        "wins": Rule("wins", Selectors(tag="red", domain="example.com"), 554, "5.7.1", "canceled", generation=1),
        "beaten": Rule("beaten", Selectors(tag="red"), 554, generation=2),
        "other": Rule("other", Selectors(tag="blue"), kind=Kind.PAUSE, generation=3),
        "far": Rule("far", Selectors(tag="blue", pool="gold"), 450, generation=4),
    }
    cluster.generation = 4
    cluster.queue_counts = [counts_of("default", "example.com")]
    found = await (await api.get(PATH)).json()
    assert (found["decides"], found["effect"]) == ("wins", "it ends with 554 5.7.1 canceled")
    assert [(rule["rule"], rule["matches"], rule["decides"]) for rule in found["rules"]] == [
        ("wins", True, True),
        ("beaten", True, False),
        ("other", False, False),
        ("far", False, False),
    ]
    assert [rule["why"] for rule in found["rules"]] == [
        ["it matches, and no other rule that does ranks higher"],
        ["it matches, and wins ranks higher"],
        ["it asks for tag blue"],
        ["it asks for pool gold", "it asks for tag blue"],
    ]
    assert found["rules"][2]["selectors"] == "tag=blue"
    assert found["queue"]["due"] == 1
    assert found["next_attempt"] == "2023-11-14T22:13:20.000Z"
    few = await (await api.get(PATH + "&limit=1")).json()
    assert (len(few["rules"]), few["others"]) == (1, 3)


async def test_o12_without_rules_and_mail_nothing_holds_it_up(api: TestClient) -> None:
    found = await (await api.get(PATH)).json()
    assert (found["decides"], found["effect"], found["rules"]) == (None, "it is delivered", [])
    assert (found["queue"], found["next_attempt"], found["limits"], found["ceiling"]) == (None, None, [], None)


async def test_o12_the_limit_that_binds_is_the_ceiling(limited: Cluster, api: TestClient) -> None:
    limited.limit_use[USE] = LimitUse(2, 0)
    found = await (await api.get("/v1/limits?pool=default&domain=EXAMPLE.com")).json()
    assert found["limits"] == [
        {
            "name": "connections",
            "value": 2.0,
            "used": 2,
            "free_at": None,
            "binds": True,
            "setting": 'domains."example.com".connections',
            "order": "",
            "scope": "domain:default:example.com",
        },
        {
            "name": "messages_per_minute",
            "value": 60.0,
            "used": None,
            "free_at": None,
            "binds": False,
            "setting": 'domains."example.com".messages_per_minute',
            "order": "",
            "scope": "domain:default:example.com",
        },
    ]
    assert found["ceiling"] == "connections"
    assert found["retries"][0] == 60.0
    limited.limit_use[USE] = LimitUse(1, wall_ms() + 30_000)
    found = await (await api.get("/v1/limits?pool=default&domain=example.com")).json()
    assert found["ceiling"] == "messages_per_minute"
    assert found["limits"][1]["free_at"] > found["as_of"]


@pytest.mark.parametrize("path", ["/v1/explain?pool=default", "/v1/limits?domain=example.com", PATH + "&mta=x"])
async def test_what_is_asked_about_must_be_named(api: TestClient, path: str) -> None:
    assert (await api.get(path)).status == 400


def test_the_settings_of_the_node_are_those_of_the_application(limited: Cluster) -> None:
    assert dependencies(limited).shaping.plan(QUEUE).budgets[0].connections == 2
