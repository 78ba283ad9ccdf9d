"""Brakes at the sink: a campaign that fails too often is stopped by itself, on two nodes."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.canaries import figures
from tests.support.node import Node, running, until
from tests.support.node_and_sink import SETTINGS
from tests.support.orders import seconds
from tests.support.recount import assert_balanced
from tests.support.sink_thread import SinkThread
from tests.support.valkey import Valkey

OPERATOR = "ops@alerts.test"
DOMAINS = 100


def _no_such_user(connection: int, argument: str) -> str | None:
    return "550 5.1.1 no such user" if "<bad" in argument else None


def _later(connection: int, argument: str) -> str | None:
    return "451 4.7.1 try again later" if "<later" in argument else _no_such_user(connection, argument)


class Cluster:
    def __init__(self, nodes: tuple[Node, Node], sink: SinkThread) -> None:
        self.nodes = nodes
        self.sink = sink

    def call(self, method: str, path: str, body: Any = None, want: int = 200) -> Any:
        status, found = self.nodes[0].call(method, path, body)
        assert status == want, found
        return found

    def brake(self, **terms: Any) -> dict[str, Any]:
        usual = {"metric": "hard_bounce", "ratio": 0.05, "min": 10, "window": "10m", "action": "pause"}
        before = len(self.call("GET", "/v1/brakes")["brakes"])
        if before:  # a brake that was removed may be counted still, and be taken for the new one
            until(lambda: self._watched() == [before, before], what=f"both workers know {before} brakes")
        found: dict[str, Any] = self.call("POST", "/v1/brakes", usual | terms, 201)
        count = before + 1
        until(lambda: self._watched() == [count, count], what=f"both workers know {count} brakes")
        return found

    def _watched(self) -> list[float]:
        shown = figures(self.nodes[0].ready["api"])
        return [value for name, value in shown.items() if name.startswith("floodgate_brakes_watched{")]

    def pull(self, brake: dict[str, Any], tag: str, number: int = 1) -> dict[str, Any]:
        """The pull once its rule is made."""

        def look() -> Any:
            pulls = self.call("GET", f"/v1/brakes/{brake['id']}")["pulls"]
            return next(
                (pull for pull in pulls if (pull["tag"], pull["pulls"]) == (tag, number) and pull["rule"]), None
            )

        return until(look, what=f"{brake}: {tag}, pull {number}")

    def rule(self, kind: str, rule_id: str) -> dict[str, Any]:
        """Once it is effective."""
        path = f"/v1/{kind}/{rule_id}"
        return until(lambda: (rule := self.call("GET", path))["effective"] and rule, what=path)

    def settled(self, tag: str, **classes: int) -> dict[str, Any]:
        def look() -> Any:
            said = self.nodes[0].statement(tag)
            return said if all(said[name] == count for name, count in classes.items()) else None

        return until(look, what=f"{tag}: {classes}")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("s46")
    sink, valkey = SinkThread(), Valkey(folder / "valkey")
    sink.script("RCPT", _later)
    with running(sink, valkey):
        sets = SETTINGS | {
            "delivery__route": sink.address,
            "domains": '{ "*.camp.test" = { messages_per_minute = 120 } }',
            "alerts__to": [OPERATOR],
        }
        first = Node(folder / "n1", "n1", valkey.url, 1, **sets)
        second = Node(folder / "n2", "n2", valkey.url, 1, node__roles=["smtp", "delivery"], **sets)
        with running(first, second):
            yield Cluster((first, second), sink)
            assert_balanced(valkey.url)


def campaign(node: Node, tag: str, first: int, messages: int) -> None:
    """Messages to 100 domains each, 8 of which bounce."""
    with node.sender() as client:
        for number in range(first, first + messages):
            assert client.mail("from@example.org")[0] == 250
            for domain in range(DOMAINS):
                name = "bad" if (domain + number) % 12 == 0 else "good"
                assert client.rcpt(f"{name}{number}@d{domain}.camp.test")[0] == 250
            assert client.data(f"X-MQ-Tag: {tag}\r\nSubject: {number}\r\n\r\nhello\r\n".encode())[0] == 250


def test_a_campaign_that_bounces_too_often_after_1000_is_held_everywhere(cluster: Cluster) -> None:
    cluster.sink.watch_lag()
    brake = cluster.brake(selectors={"tag": "camp"}, min=1000)
    for number, node in enumerate(cluster.nodes):
        campaign(node, "camp", 100 * number, 13)
    pull = cluster.pull(brake, "camp")
    assert pull["counted"] >= 1000
    assert pull["hits"] > 0.05 * pull["counted"]
    pause = cluster.rule("pauses", pull["rule"])
    assert pause["created_by"] == f"brake:{brake['id']}"
    assert f"{pull['hits']} of {pull['counted']} deliveries that ended are hard bounces within 10m" in pause["reason"]
    said = until(
        lambda: (s := cluster.nodes[0].statement("camp"))["held"] and not s["queued"] and s, what="all is held"
    )
    assert said["balanced"] is True
    assert said["accepted"] == 2600
    assert said["delivered"] + said["bounced"] + said["held"] == 2600
    assert said["held"] > 100, "it was stopped in the middle"
    effective_at = seconds(pause["effective_at"])
    listed = {past["recipient"] for past in pause["past_dot"]}
    mail = [one for one in list(cluster.sink.sink.received) if one.recipients[0].endswith(".camp.test")]
    assert [one for one in mail if one.mail_at > effective_at + 1.0 + cluster.sink.lag] == []
    late = {address for one in mail if one.dot_at > effective_at for address in one.recipients}
    assert late <= listed
    assert_ordered_soon(cluster, brake, pull)


def assert_ordered_soon(cluster: Cluster, brake: dict[str, Any], pull: dict[str, Any]) -> None:
    """The rule was made soon after the end of the delivery with which the limit was exceeded."""

    def logged(*types: str) -> list[dict[str, Any]]:
        return [event for node in cluster.nodes for event in node.events() if event["type"] in types]

    def made() -> Any:
        rules = (event for event in logged("Rule") if event["actor"] == f"brake:{brake['id']}")
        return next((event for event in rules if event["properties"]["op"] == "put"), None)

    event = until(made, what="the order is in the log")
    assert event["forced"]["rule"] == pull["rule"]
    ends = until(lambda: len(e := logged("Delivery", "Bounce")) >= 1000 and e, what="all ends are in the log")
    crossing = sorted(seconds(end["time"]) for end in ends if "camp" in end.get("tags", ()))[999]
    print(f"ordered {seconds(event['time']) - crossing:.3f} s after the end that crossed the limit")
    assert seconds(event["time"]) - crossing < 15.0


def test_each_tag_is_watched_by_itself_and_the_window_begins_anew(cluster: Cluster) -> None:
    """Its rule is a forced error. Lifted, it is not made again by what was counted before."""
    brake = cluster.brake(
        selectors={"each": "tag", "pool": "default"},
        min=10,
        ratio=0.2,
        action={"code": 554, "extended": "5.7.1", "description": "stopped", "reason": "see the wiki"},
    )
    node = cluster.nodes[0]
    node.send([f"good{n}@e1.test" for n in range(12)], ("fine",))
    node.send([f"{'bad' if n % 3 else 'good'}{n}@e2.test" for n in range(12)], ("rotten",))
    pull = cluster.pull(brake, "rotten")
    rule = cluster.rule("errors", pull["rule"])
    assert (rule["code"], rule["extended"], rule["tag"], rule["pool"]) == (554, "5.7.1", "rotten", "default")
    assert rule["reason"].endswith(". see the wiki")
    node.send("good@e2.test", ("rotten",))
    cluster.settled("rotten", accepted=13, queued=0)
    assert sum(node.statement("rotten")["intercepted"].values()) == 1
    assert [pull["tag"] for pull in cluster.call("GET", f"/v1/brakes/{brake['id']}")["pulls"]] == ["rotten"]

    cluster.call("DELETE", f"/v1/errors/{rule['id']}")
    lifted = until(lambda: (p := cluster.call("GET", f"/v1/brakes/{brake['id']}")["pulls"][0])["lifted_at"] and p)
    assert lifted["rule"] == rule["id"]
    node.send([f"bad{n}@e2.test" for n in range(9)], ("rotten",))
    cluster.settled("rotten", accepted=22, queued=0)
    assert cluster.call("GET", f"/v1/brakes/{brake['id']}")["pulled"] == 0, "9 are too few"
    node.send("bad9@e2.test", ("rotten",))
    again = cluster.pull(brake, "rotten", 2)
    assert (again["hits"], again["counted"]) == (10, 10)
    assert again["rule"] != rule["id"]
    removed = cluster.call("DELETE", f"/v1/brakes/{brake['id']}")
    assert removed["pulls"][0]["rule"] == again["rule"]
    assert cluster.rule("errors", again["rule"])["enabled"], "the rule outlives its brake"
    cluster.call("DELETE", f"/v1/errors/{again['rule']}")


def test_a_pull_is_told_by_mail_and_in_the_audit(cluster: Cluster) -> None:
    brake = cluster.brake(selectors={"tag": "told"}, metric="deferral", ratio=0.5, **{"for": "1h"})
    cluster.nodes[1].send([f"later{n}@told.test" for n in range(10)], ("told",))
    pull = cluster.pull(brake, "told")
    assert (pull["hits"], pull["counted"]) == (10, 10)
    mail = until(lambda: [m for m in cluster.sink.to("alerts.test") if b"pulled: told" in m.body], what="the alert")
    assert len(mail) == 1
    assert (mail[0].sender, mail[0].recipients) == ("", [OPERATOR])
    assert b"Auto-Submitted: auto-generated" in mail[0].body
    assert b"10 of 10 attempts were deferred" in mail[0].body
    assert pull["rule"].encode() in mail[0].body
    entries = cluster.call("GET", f"/v1/audit?of={brake['id']}")["entries"]
    assert [entry["action"] for entry in entries] == ["brake.pull", "brake.add"]
