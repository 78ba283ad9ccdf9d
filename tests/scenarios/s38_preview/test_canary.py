"""The canary on a living node: it goes the way of an order, and nothing but its metric shows it."""

import urllib.request
from typing import Any

from mta.model.canaries import CanaryFlight
from mta.model.settings import RedisSettings
from mta.orders.canary import Canary
from mta.redis_store.canary_store import StoredCanaries
from mta.redis_store.cluster_settings import ClusterSettings
from mta.redis_store.link import Link
from mta.redis_store.rule_store import StoredRules
from mta.redis_store.session import StoreSession
from tests.support.node import until


async def flight_on(url: str) -> CanaryFlight | None:
    """One canary now, given as an API process gives it each minute."""
    link = Link(url, RedisSettings())
    await link.open()
    try:
        cluster = ClusterSettings(link)
        await cluster.open(1.0, 4)
        session = StoreSession("n1", "api", ("api",))
        rules = StoredRules(link, session, cluster.lanes, cluster.max_staleness, 1000, 3600.0)
        return await Canary(rules, StoredCanaries(link), "n1").fly()
    finally:
        await link.close()


def figures(place: Any) -> dict[str, float]:
    with urllib.request.urlopen(place.api + "/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return {name: float(value) for line in lines if line[:1] != "#" for name, _, value in [line.rpartition(" ")]}


async def test_a_canary_is_confirmed_by_every_process_and_shown_by_its_metric_alone(place: Any) -> None:
    rules = place.call("GET", "/v1/errors?enabled=all") + place.call("GET", "/v1/pauses?enabled=all")
    events = sum(event["type"] == "Rule" for event in place.node.events())
    before = figures(place)
    assert "floodgate_canary_effective_seconds" not in before
    flight = await flight_on(place.node.ready["redis"])
    assert flight is not None
    assert flight.unconfirmed == ()
    shown = figures(place)
    assert shown["floodgate_canary_effective_seconds"] == flight.seconds < 5
    assert shown["floodgate_canary_unconfirmed"] == 0
    assert shown["floodgate_rules_generation"] == before["floodgate_rules_generation"] + 1
    lags = [value for name, value in shown.items() if name.startswith("floodgate_rules_generation_lag")]
    assert lags
    until(lambda: all(not v for n, v in figures(place).items() if n.startswith("floodgate_rules_generation_lag")), 10.0)
    assert rules == place.call("GET", "/v1/errors?enabled=all") + place.call("GET", "/v1/pauses?enabled=all")
    made = place.order(tag="after-the-canary")  # its lines come behind those that a canary would have
    until(lambda: any(e["forced"]["rule"] == made["id"] for e in place.node.events() if e["type"] == "Rule"), 15.0)
    told = [event for event in place.node.events() if event["type"] == "Rule"]
    assert len([event for event in told if event["forced"]["rule"] != made["id"]]) == events
    place.lift(made)
