"""Queues, workers, readiness and the live stream, as a real node shows them."""

import time
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from mta.model.process_metrics import BRAKES, KNOWN_REPLIES, LOOP_HOLDS, LOOP_LONGEST, PROCESS_METRICS
from tests.support.node import until
from tests.support.orders import seconds
from tests.support.rest import ask, watching


def test_queues_and_workers_show_what_is_there(place: Any):
    node = place.node
    node.send(["a@q1.test", "b@q1.test"], ("q",), X_MQ_Delayed="+1h")
    node.send("c@q2.test", ("q",), X_MQ_Delayed="+2h", X_MQ_Pool="gold")
    found = ask(place.api, "GET", "/v1/queues").body
    shown = {(q["pool"], q["domain"]): (q["due"], q["scheduled"], q["claimed"]) for q in found["queues"]}
    assert shown == {("default", "q1.test"): (0, 2, 0), ("gold", "q2.test"): (0, 1, 0)}
    assert all(seconds(q["next_due"]) > seconds(found["as_of"]) + 3000 and q["oldest"] < 300 for q in found["queues"])
    assert [q["domain"] for q in ask(place.api, "GET", "/v1/queues?pool=gold").body["queues"]] == ["q2.test"]
    page = ask(place.api, "GET", "/v1/queues?limit=1").body
    rest = ask(place.api, "GET", f"/v1/queues?limit=1&cursor={page['cursor']}").body
    assert [q["domain"] for q in page["queues"] + rest["queues"]] == ["q1.test", "q2.test"]
    assert rest["cursor"] is None

    def confirmed() -> Any:
        found = ask(place.api, "GET", "/v1/workers").body
        workers = found["workers"]
        fresh = all(worker["seconds_since_confirm"] < 1.0 for worker in workers)
        return found if fresh and {worker["generation"] for worker in workers} == {found["generation"]} else None

    listed = until(confirmed)
    assert sorted("+".join(w["roles"]) for w in listed["workers"]) == ["smtp+delivery", "smtp+delivery", "sweeper"]
    for worker in listed["workers"]:
        assert (worker["node"], worker["lag"], worker["dead"]) == ("n1", 0, False)
        assert worker["name"] == f"n1/{'+'.join(worker['roles'])}/{worker['pid']}"
    rule = ask(place.api, "POST", "/v1/errors?until=swept&wait=50s", b'{"code": 554, "tag": "q"}')
    assert rule.status == 201
    until(lambda: ask(place.api, "GET", "/v1/queues").body["queues"] == [])
    assert ask(place.api, "DELETE", f"/v1/errors/{rule.body['id']}").status == 200


def test_the_stream_is_live_filtered_ends_by_limit_and_time_and_resumes(place: Any):
    node = place.node
    with watching(place.api, "?for=30s") as all_, watching(place.api, "?tag=live&type=Delivery&limit=3") as some:
        node.send(["a@live.test", "b@live.test"], ("live", "more"))
        node.send("c@live.test", ("dead",))

        def seen(kind: str) -> list[str]:
            return sorted(e["recipient"] for _, is_, e in all_.events if is_ == kind and e["domain"] == "live.test")

        until(lambda: seen("Delivery") == ["a@live.test", "b@live.test", "c@live.test"])
        assert seen("Reception") == seen("Delivery")
        assert not some.ended.is_set()
        node.send("d@other.test", ("live",))
        assert some.ended.wait(60)
    assert [kind for _, kind, _ in some.events] == ["Delivery"] * 3
    assert {event["recipient"] for _, _, event in some.events} == {"a@live.test", "b@live.test", "d@other.test"}
    told = {event["event"] for _, _, event in all_.events}
    until(lambda: told <= {line["event"] for line in node.events()}, what="the log has them, too")
    lines = {line["event"]: line for line in node.events()}
    for _, _, event in all_.events:
        assert lines[event["event"]] == event, "the line of the log"
    # A client that comes back gets the events that came meanwhile, from behind the last one that it saw.
    last = some.events[0][0]
    with watching(place.api, "?tag=live&type=Delivery&limit=2", last) as again:
        assert again.ended.wait(60)
    assert again.events == some.events[1:]
    with watching(place.api, "?for=300ms&pool=nobody") as short:
        assert short.ended.wait(60)
    assert short.events == []


def test_metrics_say_what_the_node_did(place: Any):
    node = place.node
    begun = time.time()
    until(lambda: all(told_at > begun for told_at in _told_at(place)))  # else mail of the tests before is told later
    before = figures(place)
    node.send(["a@m1.test", "b@m1.test"], ("metered",))
    until(lambda: len(place.sink.to("m1.test")) == 2)
    rule = ask(place.api, "POST", "/v1/errors?wait=50s", b'{"code": 554, "tag": "metered"}')
    assert rule.status == 201

    def grown(name: str, **labels: str) -> float:
        def total(found: list[Any]) -> float:
            return sum(
                s.value for f in found for s in f.samples if s.name == name and labels.items() <= s.labels.items()
            )

        return total(figures(place)) - total(before)

    until(lambda: grown("floodgate_deliveries_settled_total", outcome="delivered", role="smtp+delivery") == 2)
    until(lambda: grown("floodgate_deliveries_accepted_total") == 2)
    assert grown("floodgate_messages_total", answer="accepted") == grown("floodgate_messages_total") > 0
    until(lambda: grown("floodgate_books_deliveries", **{"class": "delivered"}) == 2)
    until(lambda: grown("floodgate_books_accepted_total") == 2)
    until(lambda: grown("floodgate_order_effective_seconds_count") == 1)
    until(lambda: grown("floodgate_orders_effective_total", by="confirmed") == 1)
    assert grown("floodgate_escaped_dots_total") == 0
    assert grown("floodgate_rules_generation") >= 1  # a canary may have moved the table on, too
    names = {family.name for family in figures(place) if family.samples}
    told = {
        f"floodgate_{metric.name}"
        for metric in PROCESS_METRICS
        if metric not in (KNOWN_REPLIES, BRAKES, LOOP_HOLDS, LOOP_LONGEST)
    }
    assert told <= names, "each figure that the API knows is told by the workers"
    assert ask(place.api, "DELETE", f"/v1/errors/{rule.body['id']}").status == 200


def _told_at(place: Any) -> list[float]:
    """When each process told its figures, which it does with each confirmation of the rules."""
    return [seconds(worker["confirmed_at"]) for worker in ask(place.api, "GET", "/v1/workers").body["workers"]]


def figures(place: Any) -> list[Any]:
    answer = ask(place.api, "GET", "/metrics", token=None)
    assert answer.status == 200
    return list(text_string_to_metric_families(answer.body.decode()))
