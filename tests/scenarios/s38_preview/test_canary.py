"""The canary on a living node: it goes the way of an order, and nothing but its metric shows it."""

from typing import Any

from tests.support.canaries import figures, flight_on
from tests.support.node import until


async def test_a_canary_is_confirmed_by_every_process_and_shown_by_its_metric_alone(place: Any) -> None:
    rules = place.call("GET", "/v1/errors?enabled=all") + place.call("GET", "/v1/pauses?enabled=all")
    events = sum(event["type"] == "Rule" for event in place.node.events())
    assert "floodgate_canary_effective_seconds" not in figures(place.api)
    for _ in range(5):  # on a busy machine a process may not confirm one of them within two seconds
        before = figures(place.api)
        flight = await flight_on(place.node.ready["redis"], 2.0)
        assert flight is not None
        if not flight.unconfirmed:
            break
    assert (flight.unconfirmed, flight.seconds > 0) == ((), True)
    shown = figures(place.api)
    assert shown["floodgate_canary_effective_seconds"] == flight.seconds
    assert shown["floodgate_canary_unconfirmed"] == 0
    assert shown["floodgate_rules_generation"] == before["floodgate_rules_generation"] + 1
    lags = [value for name, value in shown.items() if name.startswith("floodgate_rules_generation_lag")]
    assert lags
    until(
        lambda: all(not v for n, v in figures(place.api).items() if n.startswith("floodgate_rules_generation_lag")),
    )
    assert rules == place.call("GET", "/v1/errors?enabled=all") + place.call("GET", "/v1/pauses?enabled=all")
    made = place.order(tag="after-the-canary")  # its lines come behind those that a canary would have
    until(lambda: any(e["forced"]["rule"] == made["id"] for e in place.node.events() if e["type"] == "Rule"))
    told = [event for event in place.node.events() if event["type"] == "Rule"]
    assert len([event for event in told if event["forced"]["rule"] != made["id"]]) == events
    place.lift(made)
