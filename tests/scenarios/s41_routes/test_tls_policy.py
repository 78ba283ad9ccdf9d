"""MTA-STS at real hosts, and TLS by domain; the results are kept by day (C-104, D14)."""

import contextlib
import pathlib
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.certificates import Authority, self_signed
from tests.support.dns_thread import DnsThread
from tests.support.node import running, until
from tests.support.node_and_sink import NodeAndSink, shared
from tests.support.policy_host import PolicyHost
from tests.support.sink_thread import SinkThread
from tests.support.story import ended, lines
from tests.support.valkey import free_port

POLICY = "version: STSv1\nmode: {mode}\nmx: {mx}\nmax_age: 604800\n"
DOMAINS = ("good", "second", "wrong", "clear", "trial", "doubt", "fine", "moved", "strict")


class Place(NodeAndSink):
    """A node that looks up MX hosts and policies, and hosts with certificates of several kinds on one port."""

    def __init__(self, folder: pathlib.Path) -> None:
        super().__init__(folder, delivery__retries=["1h"])
        authority = Authority(folder)
        self.host = PolicyHost({f"{name}.test": authority.server(f"mta-sts.{name}.test") for name in DOMAINS})
        self._tls = {
            "127.0.0.2": authority.server("mx.hosts.test"),
            "127.0.0.3": authority.server("other.test"),
            "127.0.0.4": self_signed(folder),
            "127.0.0.6": authority.server("own.hosts.test"),
        }
        self.hosts: dict[str, SinkThread] = {}
        self.dns = DnsThread()
        self._ca = str(authority.file)

    def destinations(self, stack: contextlib.ExitStack) -> dict[str, Any]:
        found = super().destinations(stack)
        stack.enter_context(running(self.dns, self.host))
        port = free_port()  # on several addresses: a port that the system gives for one may be taken on another
        for name, ip in (
            ("mx", "127.0.0.2"), ("wrong", "127.0.0.3"), ("self", "127.0.0.4"), ("clear", "127.0.0.5"),
            ("own", "127.0.0.6"),
        ):  # fmt: skip
            sink = self.hosts[name] = SinkThread(host=ip, port=port, tls=self._tls.get(ip))
            stack.enter_context(running(sink))
            self.dns.stub.a(f"{name}.hosts.test", ip)
        self.publish("good", "mx", policy="enforce mx.hosts.test")
        self.publish("second", "self", "mx", policy="enforce *.hosts.test")
        self.publish("wrong", "wrong", policy="enforce wrong.hosts.test")
        self.publish("clear", "clear", policy="enforce clear.hosts.test")
        self.publish("trial", "clear", policy="testing other.test")
        self.publish("doubt", "wrong", policy="testing wrong.hosts.test")
        self.publish("fine", "own", policy="testing own.hosts.test")
        self.publish("moved", "own", policy="enforce mx.elsewhere.test")
        self.publish("strict", "self")
        self.publish("plain", "wrong")
        self.host.answers["moved.test"] = (302, "https://mta-sts.good.test/.well-known/mta-sts.txt")
        return found | {
            "delivery.route": "",
            "delivery.dns_servers": [self.dns.stub.address],
            "delivery.mx_port": port,
            "delivery.mta_sts_port": self.host.port,
            "delivery.ca_file": self._ca,
            # A domain with settings of its own uses no connection of others, and has sessions of its own.
            "domains": '{ "strict.test" = { tls = "verified" }, "moved.test" = { messages_per_connection = 1 } }',
        }

    def publish(self, name: str, *hosts: str, policy: str = "") -> None:
        domain = f"{name}.test"
        self.dns.stub.mx(domain, *[(at, f"{host}.hosts.test") for at, host in enumerate(hosts)])
        if policy:
            mode, mx = policy.split()
            self.host.policies[domain] = POLICY.format(mode=mode, mx=mx)
            self.dns.stub.txt(f"_mta-sts.{domain}", "v=STSv1; id=1;")
            self.dns.stub.a(f"mta-sts.{domain}", "127.0.0.1")

    def first_line(self, recipient: str) -> dict[str, Any]:
        self.node.send(recipient)
        (line, *_) = until(lambda: lines(self.node, recipient))
        return dict(line)

    def sessions(self, domain: str) -> dict[str, int]:
        """Those of today, by result."""
        rows = self.call("GET", "/v1/stats?by=tls&limit=1000")["stats"]
        return {f"{row['policy']} {row['result']}": row["sessions"] for row in rows if row["domain"] == domain}

    def counted(self, domain: str, wanted: set[str]) -> None:
        """Wait until the results of the domain are these."""
        until(lambda: self.sessions(domain).keys() == wanted, what=lambda: f"{domain}: {self.sessions(domain)}")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with shared(Place(tmp_path_factory.mktemp("sts"))) as place:
        yield place


def test_c104_mail_follows_the_policy_of_its_domain(place: Place) -> None:
    place.node.send(["a@good.test", "b@good.test"])
    found = ended(place.node, "a@good.test", "b@good.test")
    assert {(line["type"], line["mx"], line["tls"][:8]) for line in found.values()} == {
        ("Delivery", "mx.hosts.test", "TLSv1.3 ")
    }
    assert place.host.asked.count("good.test") <= 2  # once for each worker
    until(lambda: place.sessions("good.test").get("sts success"))


def test_c104_a_host_without_a_valid_certificate_is_passed_over_for_the_next(place: Place) -> None:
    line = place.first_line("a@second.test")
    assert (line["type"], line["mx"], line["attempt"]) == ("Delivery", "mx.hosts.test", 1)
    assert place.hosts["self"].to("second.test") == []
    place.counted("second.test", {"sts success", "sts certificate-not-trusted"})


@pytest.mark.parametrize(
    ("name", "result"), [("wrong", "certificate-host-mismatch"), ("clear", "starttls-not-supported")]
)
def test_c104_mail_is_deferred_where_no_host_follows_the_policy(place: Place, name: str, result: str) -> None:
    line = place.first_line(f"a@{name}.test")
    assert (line["type"], line["code"], line["tls"]["offered"]) == ("TransientFailure", 451, name == "wrong")
    assert line["reason"] == f"starting TLS ({name}.hosts.test)"
    assert place.hosts[name].begun_to(f"{name}.test") == []
    place.counted(f"{name}.test", {f"sts {result}"})


def test_c104_mail_under_a_policy_takes_no_connection_that_others_opened(place: Place) -> None:
    """The host is the same, and its certificate is not looked at for the other domain."""
    for number in range(4):
        line = place.first_line(f"a{number}@plain.test")
        assert (line["type"], line["mx"]) == ("Delivery", "wrong.hosts.test")
        line = place.first_line(f"b{number}@wrong.test")
        assert (line["type"], line["reason"]) == ("TransientFailure", "starting TLS (wrong.hosts.test)")
    assert place.hosts["wrong"].begun_to("wrong.test") == []


def test_c104_a_policy_in_testing_stops_nothing_and_is_counted(place: Place) -> None:
    line = place.first_line("a@trial.test")
    assert (line["type"], "tls" in line) == ("Delivery", False)
    place.counted("trial.test", {"sts validation-failure", "sts clear"})


def test_c104_a_policy_in_testing_has_its_certificate_checked_and_mail_goes_all_the_same(place: Place) -> None:
    for number in range(2):
        line = place.first_line(f"a{number}@doubt.test")
        assert (line["type"], line["tls"][:8]) == ("Delivery", "TLSv1.3 ")
    place.counted("doubt.test", {"sts certificate-host-mismatch"})
    assert place.first_line("a@fine.test")["type"] == "Delivery"
    place.counted("fine.test", {"sts success"})


def test_c104_a_policy_behind_a_redirect_is_none(place: Place) -> None:
    line = place.first_line("a@moved.test")
    assert (line["type"], line["mx"]) == ("Delivery", "own.hosts.test")
    wanted = {"no-policy-found success", "sts sts-policy-fetch-error"}
    place.counted("moved.test", wanted)


def test_a_domain_that_the_settings_verify_gets_no_mail_over_a_certificate_that_nobody_signed(place: Place) -> None:
    line = place.first_line("a@strict.test")
    assert (line["type"], line["tls"]["offered"]) == ("TransientFailure", True)
    assert "self-signed certificate" in line["tls"]["failed"]
    place.counted("strict.test", {"no-policy-found certificate-not-trusted"})


def test_tls_figures_take_no_other_group_and_belong_to_no_tenant(place: Place) -> None:
    answer = place.call("GET", "/v1/stats?by=tls&by=domain", want=(400,))
    assert answer["error"]["message"] == "tls takes no other group; ask for it alone"
    place.call("GET", "/v1/stats?by=tls&tenant=t", want=(403,))
