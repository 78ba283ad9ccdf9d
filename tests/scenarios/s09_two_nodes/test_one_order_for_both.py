"""A forced error posted to one node stops matching mail on both, and lifting it lets mail flow on both."""

import os
import signal
import threading
from typing import Any

from tests.support.node import until
from tests.support.orders import assert_accounted, seconds


def _inject(node: Any, tag: str, count: int, failed: list[BaseException]) -> None:
    try:
        with node.sender() as client:
            for n in range(count):
                mark = "stay" if n % 4 == 3 else tag
                node.send_on(client, f"{mark}-{node.name}-{n}@d{n % 4}.camp.test", (mark, f"of-{node.name}"))
    except BaseException as error:  # told by the test's own thread
        failed.append(error)


def _lifted_it_lets_mail_flow_from_both(pair: Any, rule: dict[str, Any], delivering: list[str], taken: int) -> None:
    """Lifting has an effective time too, and names everyone that delivers."""
    first, second = pair.nodes
    status, gone = second.call("DELETE", f"/v1/errors/{rule['id']}?wait=50s")
    assert (status, gone["effective"], gone["workers"]["confirmed"]) == (200, True, delivering)
    assert first.call("GET", f"/v1/errors/{rule['id']}")[0] == 404
    first.send("camp-free-1@d0.camp.test", ("camp",))
    second.send("camp-free-2@d1.camp.test", ("camp",))
    pair.waits("camp", queued=0, delivered=taken + 2)
    status, anew = second.call("POST", "/v1/errors", {"code": 551, "tag": "camp"})
    assert (status, anew["id"] != rule["id"]) == (201, True)
    status, same = first.call("POST", "/v1/errors", {"code": 552, "tag": "camp", "description": "again"})
    assert (status, same["id"], same["created_at"]) == (200, anew["id"], anew["created_at"])
    second.send("camp-met@d2.camp.test", ("camp",))
    line = until(lambda: [e for e in pair.log("Intercepted") if e["recipient"] == "camp-met@d2.camp.test"])[0]
    assert (line["code"], line["text"]) == (552, "again")
    assert first.call("DELETE", "/v1/errors", {"tag": "camp"})[0] == 200


def test_an_order_to_one_node_stops_the_campaign_on_both_while_it_is_injected_and_delivered(pair: Any):
    first = pair.nodes[0]
    matchers = pair.matchers()
    assert sum("+delivery/" in name for name in matchers) == 4
    assert sum("/sweeper/" in name for name in matchers) == 2
    failed: list[BaseException] = []
    pair.sink.watch_lag()
    threads = [threading.Thread(target=_inject, args=(node, "camp", 240, failed)) for node in pair.nodes]
    for thread in threads:
        thread.start()

    def begun() -> dict[str, Any]:
        return {r.recipients[0]: r for r in list(pair.sink.sink.begun) if r.recipients and "camp-" in r.recipients[0]}

    def from_both() -> bool:
        taken = [name for name, r in begun().items() if r.taken]
        return {name.split("-")[1] for name in taken} == {"n1", "n2"} and len(taken) >= 30

    until(from_both)
    status, rule = first.call("POST", "/v1/errors?wait=50s", {"code": 554, "extended": "5.7.1", "tag": "camp"})
    assert (status, rule["effective"]) == (201, True)
    assert rule["workers"] == {"confirmed": pair.delivering(), "unconfirmed": []}
    for thread in threads:
        thread.join(90)
    assert not failed

    statement = pair.waits("camp", accepted=360, queued=0)
    pair.waits("stay", accepted=120, delivered=120)
    effective = seconds(rule["effective_at"])
    assert not [r for r in begun().values() if r.mail_at > effective + 0.25 + pair.sink.lag]
    taken = {name: r for name, r in begun().items() if r.taken}
    listed = {entry["recipient"] for entry in rule["past_dot"]}
    assert {name for name, r in taken.items() if r.dot_at > effective} <= listed
    assert 30 <= len(taken) < 360
    assert statement["balanced"] is True
    assert statement["delivered"] == len(taken)
    assert sum(statement["intercepted"].values()) == 360 - len(taken)
    stayed = [r.recipients[0] for r in pair.sink.sink.taken if r.recipients[0].startswith("stay-")]
    assert len(stayed) == len(set(stayed)) == 120
    account = pair.complete(rule)
    assert_accounted(account)
    assert account["delivered"]["before"] + account["delivered"]["after"] == len(taken)
    assert account["delivered"]["after"] <= len(listed)

    def logged(kind: str) -> int:
        return sum("camp" in event.get("tags", ()) for event in pair.log(kind))

    until(lambda: (logged("Delivery"), logged("Intercepted")) == (len(taken), 360 - len(taken)))
    until(lambda: logged("Reception") == 360)
    _lifted_it_lets_mail_flow_from_both(pair, rule, pair.delivering(), len(taken))


def test_an_order_for_one_node_alone_leaves_the_other_delivering(pair: Any):
    first, second = pair.nodes
    rule = {"code": 553, "tag": "local", "cluster": False}
    status, made = first.call("POST", "/v1/errors?wait=50s", rule)
    assert (status, made["node"], made["cluster"]) == (201, "n1", False)
    sent: list[str] = []

    def both_seen() -> bool:
        name = f"l{len(sent)}@l{len(sent)}.test"
        sent.append(name)
        pair.nodes[len(sent) % 2].send(name, ("local",))  # a node delivers what it accepts
        pair.waits("local", queued=0, accepted=len(sent))
        found = pair.nodes[0].statement("local")
        return bool(found["delivered"] and sum(found["intercepted"].values()))

    until(both_seen)
    ended = until(
        lambda: (
            len(f := [e for e in pair.log("Intercepted") + pair.log("Delivery") if "local" in e.get("tags", ())])
            == len(sent)
            and f
        )
    )
    assert {e["node"] for e in ended if e["type"] == "Intercepted"} == {"n1"}
    assert {e["node"] for e in ended if e["type"] == "Delivery"} == {"n2"}
    assert second.call("DELETE", "/v1/errors", rule)[0] == 404, "the other node means its own rule"
    assert first.call("DELETE", "/v1/errors", rule)[0] == 200


def _rule_lines(node: Any) -> list[tuple[str, str, str]]:
    """(event id, rule, what happened) of each line about rules."""
    found = [event for event in node.events() if event["type"] == "Rule"]
    return [(event["event"], event["forced"]["rule"], event["properties"]["op"]) for event in found]


def test_each_node_logs_every_event_of_the_rules_once_whichever_journal_counts_them(pair: Any):
    def owner() -> Any:
        said = pair.valkey.ask("HGET", "fg:{journal}:owner", "rules")
        return next((node for node in pair.nodes if f"\n{node.name}.".encode() in said), None) or said

    def order(tag: str, by: Any, lifted_by: Any) -> None:
        rule = by.call("POST", "/v1/errors?wait=50s&until=swept", {"code": 554, "tag": tag})[1]
        assert lifted_by.call("DELETE", f"/v1/errors/{rule['id']}?wait=50s")[0] == 200
        ops = ["put", "effective", "completed", "remove", "effective", "account"]
        for node in pair.nodes:
            until(
                lambda node=node: [op for _, of, op in _rule_lines(node) if of == rule["id"]] == ops,
                what=lambda node=node: f"{node.name}: {_rule_lines(node)[-8:]}",
            )

    first, second = pair.nodes
    order("each-logs", first, second)
    lines = [_rule_lines(node) for node in pair.nodes]
    assert lines[0] == lines[1], "in the same order, too"
    assert len(lines[0]) == len({event for event, _, _ in lines[0]})
    counting = owner()
    assert counting in pair.nodes, counting
    os.kill(counting.child("mta.runtime.journal"), signal.SIGKILL)
    order("each-logs-2", second, first)
    lines = [_rule_lines(node) for node in pair.nodes]
    assert set(lines[0]) == set(lines[1])
    other = next(node for node in pair.nodes if node is not counting)
    assert len(_rule_lines(other)) == len(set(_rule_lines(other)))
