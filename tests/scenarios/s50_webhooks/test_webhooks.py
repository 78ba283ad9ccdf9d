"""Webhooks: an endpoint is told what became of mail, as the destination has it."""

import contextlib
from collections.abc import Iterator
from typing import Any

from tests.support.node import running, until
from tests.support.node_and_sink import NodeAndSink
from tests.support.webhook_receiver import Decide, Reply, WebhookReceiver


class Told(WebhookReceiver):
    """A receiver that an endpoint of the node leads to."""

    webhook: dict[str, Any]


@contextlib.contextmanager
def told(place: NodeAndSink, decide: Decide = lambda hook: Reply(), **terms: Any) -> Iterator[Told]:
    receiver = Told(decide)
    with running(receiver):
        receiver.webhook = place.call("POST", "/v1/webhooks", {"url": receiver.url} | terms)
        yield receiver
        place.call("DELETE", f"/v1/webhooks/{receiver.webhook['id']}")


def test_a_delivery_is_told_with_a_signature_that_a_strangers_library_verifies(place: NodeAndSink) -> None:
    with told(place, tags=["w1"]) as receiver:
        sent = place.node.send(["a@w1.test", "b@w1.test"], ("w1",))
        place.node.send("c@other.test", ("other",))
        until(lambda: len(receiver.told("w1")) >= 2, 20.0, "both are told")
        for hook in receiver.hooks:
            event = hook.verified(receiver.webhook["secret"])
            assert event["type"] == "message:updated"
            assert event["data"]["status"] == "SENT"  # delivery.route is a relay
            assert hook.headers["content-type"] == "application/json"
        assert {record["message_id"] for record in receiver.told("w1")} == set(sent)
        assert sorted(record["recipient"] for record in receiver.told("w1")) == sorted(place.arrived("w1.test"))
        record = receiver.told("w1")[0]
        status, known = place.node.call("GET", f"/v1/messages/{record['id']}")
        assert status == 200
        assert known["seq"] == record["seq"]
        assert known["status"] == record["status"]
