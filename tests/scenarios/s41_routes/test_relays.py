"""Mail leaves through relays with TLS and AUTH, and by alternates in the order that the settings give."""

import contextlib
import pathlib
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.certificates import Authority, self_signed
from tests.support.dns_thread import DnsThread
from tests.support.node import running, until
from tests.support.node_and_sink import NodeAndSink, shared
from tests.support.relay_peer import RelayPeer
from tests.support.sink import DROP
from tests.support.sink_thread import SinkThread
from tests.support.story import ended, lines

USER, PASSWORD = "floodgate", "Correct-Horse-9"
NOWHERE = "127.0.0.1:1"  # nothing listens there


class Place(NodeAndSink):
    """A node, relays that are not ours, and sinks."""

    def __init__(self, folder: pathlib.Path) -> None:
        super().__init__(folder, delivery__retries=["1s"], delivery__alternate_after="2s")
        authority = Authority(folder)
        good = authority.server("relay.test")
        self.relays = {
            "good": RelayPeer(good, USER, PASSWORD),
            "login": RelayPeer(good, USER, PASSWORD, without=("PLAIN",)),
            "other": RelayPeer(authority.server("other.test"), USER, PASSWORD),
            "unknown": RelayPeer(self_signed(folder, "relay.test"), USER, PASSWORD),
            "expired": RelayPeer(authority.server("relay.test", days=-1), USER, PASSWORD),
            "changed": RelayPeer(good, USER, "another password"),
        }
        self.slow, self.firm, self.lossy, self.clear = SinkThread(), SinkThread(), SinkThread(), SinkThread()
        self.slow.script("RCPT", "450 4.2.0 not now")
        self.firm.script("RCPT", "550 5.1.1 nobody")
        self.lossy.script(".", DROP)
        self.clear.script("EHLO", "250-clear\r\n250 AUTH PLAIN LOGIN")
        self.dns = DnsThread()
        self._ca = str(authority.file)
        self._password = folder / "password"
        self._password.write_text(f"{PASSWORD}\n")

    def destinations(self, stack: contextlib.ExitStack) -> dict[str, Any]:
        found = super().destinations(stack)
        stack.enter_context(running(self.dns, *self.relays.values(), self.slow, self.firm, self.lossy, self.clear))
        self.dns.stub.a("relay.test", "127.0.0.1")
        self.dns.stub.mx("down.test", (10, "mx.down.test"))
        self.dns.stub.a("mx.down.test", "127.0.0.1")
        ports = {name: relay.port for name, relay in self.relays.items()} | {"clear": self.clear.sink.port}
        for name, port in ports.items():
            key = f"relays.{name}."
            found |= {f"{key}host": "relay.test", f"{key}port": port, f"{key}username": USER}
            found[f"{key}password_file"] = str(self._password)
        mine = self.sink.address
        routes = {
            "plain.test": ["relay:good"], "login.test": ["relay:login"], "changed.test": ["relay:changed"],
            "other.test": ["relay:other", mine], "unknown.test": ["relay:unknown", mine],
            "expired.test": ["relay:expired", mine], "clear.test": ["relay:clear", mine],
            "down.test": [NOWHERE, "mx"], "slow.test": [self.slow.address, mine],
            "firm.test": [self.firm.address, mine], "lossy.test": [self.lossy.address, mine],
        }  # fmt: skip
        table = ", ".join(f'"{domain}" = {words}' for domain, words in routes.items())
        return found | {
            "delivery.route": "",
            "delivery.routes": f"{{ {table} }}",
            "delivery.ca_file": self._ca,
            "delivery.dns_servers": [self.dns.stub.address],
            "delivery.mx_port": self.sink.sink.port,
        }

    def status(self, message: str) -> dict[str, Any]:
        """The record of the only recipient."""
        (record,) = self.call("GET", f"/v1/messages/{message}")["recipients"]
        return dict(record)

    def dialogue(self, message: str) -> list[str]:
        """That of the first attempt that history has."""
        events = self.call("GET", f"/v1/messages/{message}/history")["events"]
        return next((event["dialogue"] for event in events if "dialogue" in event), [])


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with shared(Place(tmp_path_factory.mktemp("relays"))) as place:
        yield place


@pytest.mark.parametrize(("name", "mechanism"), [("plain", "PLAIN"), ("login", "LOGIN")])
def test_a_relay_gets_mail_over_tls_after_auth(place: Place, name: str, mechanism: str) -> None:
    recipient, relay = f"a@{name}.test", place.relays[{"plain": "good"}.get(name, name)]
    (message,) = place.node.send(recipient)
    line = ended(place.node, recipient)[recipient]
    assert relay.taken == [(recipient, True, USER.encode())]
    assert relay.logins == [(mechanism, USER.encode(), True)]
    assert (line["type"], line["mx"]) == ("Delivery", "relay.test")
    assert line["tls"].startswith("TLSv1.3 ")
    assert line["route"] == f"relay:{'good' if name == 'plain' else name}"
    assert line["sent_at"] == line["time"]
    assert "delivered_at" not in line
    record = place.status(message)
    assert record["status"] == "SENT"


@pytest.mark.parametrize("name", ["other", "unknown", "expired", "clear"])
def test_a_relay_that_is_not_verified_learns_no_password_and_the_next_route_gets_the_mail(
    place: Place, name: str
) -> None:
    recipient = f"a@{name}.test"
    place.node.send(recipient)
    line = ended(place.node, recipient)[recipient]
    assert (line["type"], line["attempt"], line["route"]) == ("Delivery", 1, place.sink.address)
    assert place.arrived(f"{name}.test") == [recipient]
    if name == "clear":
        verbs = {command.partition(" ")[0].upper() for _, command in place.clear.sink.commands}
        assert "AUTH" not in verbs
        assert "MAIL" not in verbs
    else:
        assert place.relays[name].logins == []


def test_a_password_that_the_relay_refuses_defers_the_mail_and_is_nowhere_to_be_read(place: Place) -> None:
    recipient = "a@changed.test"
    (message,) = place.node.send(recipient)
    (line, *_) = until(lambda: lines(place.node, recipient))
    assert (line["type"], line["code"], line["route"]) == ("TransientFailure", 535, "relay:changed")
    assert line["reason"] == "authenticating (relay.test)"
    dialogue = until(lambda: place.dialogue(message))
    assert "C: AUTH PLAIN ***" in dialogue
    assert not [spoken for spoken in dialogue if PASSWORD in spoken or "AGZsb29kZ2F0ZQ" in spoken]
    assert PASSWORD not in place.node.errors()
    assert place.relays["changed"].taken == []
    place.call("POST", f"/v1/messages/{message}/cancel", want=(200, 202))


def test_where_no_host_of_a_route_is_reached_the_next_one_gets_the_mail_at_once(place: Place) -> None:
    recipient = "a@down.test"
    (message,) = place.node.send(recipient)
    line = ended(place.node, recipient)[recipient]
    assert (line["type"], line["attempt"], line["route"], line["mx"]) == ("Delivery", 1, "mx", "mx.down.test")
    assert line["delivered_at"] == line["time"]
    assert place.status(message)["status"] == "DELIVERED"


def test_after_a_time_of_4xx_the_next_route_gets_the_mail(place: Place) -> None:
    recipient = "a@slow.test"
    place.node.send(recipient)
    line = ended(place.node, recipient)[recipient]
    assert (line["type"], line["route"]) == ("Delivery", place.sink.address)
    before = lines(place.node, recipient, "TransientFailure")
    assert before
    assert {(one["code"], one["route"]) for one in before} == {(450, place.slow.address)}
    assert line["attempt"] == len(before) + 1
    assert place.arrived("slow.test") == [recipient]
    assert len(place.slow.sink.begun) == line["attempt"]  # the first route is asked at each attempt


def test_a_5xx_ends_the_mail_whatever_routes_are_left(place: Place) -> None:
    recipient = "a@firm.test"
    place.node.send(recipient)
    line = ended(place.node, recipient)[recipient]
    assert (line["type"], line["code"], line["route"]) == ("Bounce", 550, place.firm.address)
    assert place.arrived("firm.test") == []


def test_c31_no_other_route_gets_mail_whose_dot_had_no_answer(place: Place) -> None:
    recipient = "a@lossy.test"
    (message,) = place.node.send(recipient)
    found = until(lambda: [one for one in lines(place.node, recipient) if one["attempt"] >= 3])
    assert (found[0]["type"], found[0]["uncertain"], found[0]["route"]) == (
        "TransientFailure", True, place.lossy.address,
    )  # fmt: skip
    assert place.arrived("lossy.test") == []
    place.call("POST", f"/v1/messages/{message}/cancel", want=(200, 202))
