"""Webhooks whose names mean another address at another time: none that is not allowed gets anything."""

import contextlib

from tests.scenarios.s50_webhooks.conftest import NodeWithDns, Told, told
from tests.support.node import running, until
from tests.support.valkey import free_port
from tests.support.webhook_receiver import Hook, Reply, WebhookReceiver

INSIDE = "127.77.0.2"  # an address that the node's settings do not allow
REFUSED = "the name has no address in webhooks.allow_networks, which http:// needs"


def test_a13_a_name_that_rebinds_reaches_nothing_inside_and_its_events_wait_for_its_receiver(
    place: NodeWithDns,
) -> None:
    """One name means its receiver first and an address inside later, the other one the other way round."""

    def closing(hook: Hook) -> Reply:
        return Reply(headers={"Connection": "close"})  # so that each request needs a connection

    place.names.a("good-first.test", "127.0.0.1", ttl=0)
    place.names.a("bad-first.test", INSIDE, ttl=0)
    with contextlib.ExitStack() as stack:
        good_first, bad_first = (
            stack.enter_context(told(place, closing, host, free_port(), tags=["w20"]))
            for host in ("good-first.test", "bad-first.test")
        )
        inside = [WebhookReceiver(host=INSIDE, port=one.port) for one in (good_first, bad_first)]
        for one in inside:
            stack.enter_context(running(one))

        def why(receiver: Told) -> str:
            return str(place.call("GET", receiver.path).get("last_failure_reason", ""))

        def told_or_refused() -> bool:
            return len(good_first.told("w20")) >= len(sent) or bool(why(good_first))

        sent = place.node.send("first@w20.test", ("w20",))
        good_first.wait("w20", 1)
        assert until(lambda: why(bad_first), what="the failure is shown") == REFUSED
        tested = place.call("POST", f"{bad_first.path}/test")
        assert tested == {"delivered": False, "reason": REFUSED}
        place.names.a("bad-first.test", "127.0.0.1", ttl=0)
        place.names.a("good-first.test", INSIDE, ttl=0)
        while not why(good_first):  # the address that was looked up before is used for a second
            sent += place.node.send(f"u{len(sent)}@w20.test", ("w20",))
            until(told_or_refused, what="it is told, or refused")
        assert why(good_first) == REFUSED
        assert len(good_first.told("w20")) < len(sent)
        place.names.a("good-first.test", "127.0.0.1", ttl=0)
        for receiver in (good_first, bad_first):
            receiver.wait("w20", len(sent))
            assert sorted(record["message_id"] for record in receiver.told("w20")) == sorted(sent)
        assert len(place.arrived("w20.test")) == len(sent)
        assert [one.hooks for one in inside] == [[], []]
