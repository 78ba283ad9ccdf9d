import contextlib
import pathlib
import socket

import pytest

from tests.support.dns_thread import DnsThread
from tests.support.node import Node, running, until
from tests.support.sink import STALL
from tests.support.sink_thread import SinkThread
from tests.support.story import at_rest, ended, lines, summary
from tests.support.valkey import free_port

HOSTS = {
    "mx2": "127.0.0.2", "mx3": "127.0.0.3", "mx4": "127.0.0.4", "busy": "127.0.0.5",
    "hostile": "127.0.0.6", "mute": "127.0.0.8",
}  # fmt: skip
NOBODY = "127.0.0.7"  # nothing listens there
EQUAL = 16  # messages to two equal hosts: all to one of them in one run of 32,768


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


class Town:
    """Sinks on several addresses of loopback, all at one port, and the DNS that names them."""

    def __init__(self) -> None:
        self.dns = DnsThread()
        self.sinks: dict[str, SinkThread] = {}
        self.port = free_port()  # on several addresses: a port that the system gives for one may be taken on another

    def start(self) -> None:
        self.dns.start()
        for name, ip in HOSTS.items():
            self.sinks[name] = SinkThread(host=ip, port=self.port).start()
            self.dns.stub.a(f"{name}.hosts.test", ip)
        self.sinks["busy"].script("GREETING", "421 4.3.2 too busy")
        self.sinks["hostile"].script("GREETING", "554 5.7.1 not you")
        self.sinks["mute"].script("GREETING", STALL)
        self.dns.stub.a("nobody.hosts.test", NOBODY)

    def stop(self) -> None:
        for sink in self.sinks.values():
            sink.stop()
        self.dns.stop()

    def node(self, folder: pathlib.Path, **more: object) -> Node:
        sets = {
            "delivery.dns_servers": [self.dns.stub.address],
            "delivery.mx_port": self.port,
            "delivery.retries": ["1s", "2s"],
            "delivery.greeting_timeout": "8s",
        }
        return Node(folder, **(sets | more))

    def mx(self, domain: str, *hosts: tuple[int, str]) -> None:
        self.dns.stub.mx(domain, *[(preference, f"{host}.hosts.test") for preference, host in hosts])

    def got(self, domain: str) -> dict[str, int]:
        """Messages to the domain by sink."""
        counts = {name: len([m for m in sink.to(domain) if m.taken]) for name, sink in self.sinks.items()}
        return {name: count for name, count in counts.items() if count}


@pytest.fixture
def town():
    town = Town()
    with contextlib.ExitStack() as stack:
        stack.callback(town.stop)
        town.start()
        yield town


def name_the_hosts(town: Town) -> None:
    """The zone: each domain is a case of its own."""
    town.mx("order.test", (20, "mx3"), (10, "mx2"))
    town.mx("equal.test", (10, "mx2"), (10, "mx3"))
    town.mx("refused.test", (10, "nobody"), (20, "mx2"))
    town.mx("busy.test", (10, "busy"), (20, "mx3"))
    town.mx("hostile.test", (10, "hostile"), (20, "mx3"))
    town.mx("mute.test", (10, "mute"), (20, "mx3"))
    town.mx("unwelcome.test", (10, "hostile"))
    town.mx("ghost.test", (10, "ghost"), (20, "mx4"))
    stub = town.dns.stub
    stub.a("bare.test", HOSTS["mx4"])
    stub.mx("null.test", (0, "."))
    stub.a("null.test", HOSTS["mx2"])
    stub.mx("address.test", (10, HOSTS["mx2"]))  # an MX that is no host name does not mean the A record
    stub.a("address.test", HOSTS["mx2"])
    town.mx("spectre.test", (10, "ghost"))
    stub.a("spectre.test", HOSTS["mx2"])
    stub.cname("alias.test", "order.test")
    stub.mx("crooked.test", (10, "other.hosts.test"))
    stub.cname("other.hosts.test", "mx4.hosts.test")


def test_mail_goes_to_the_hosts_that_dns_names_in_their_order(town: Town, tmp_path: pathlib.Path) -> None:
    name_the_hosts(town)
    good = {
        "order.test": "mx2", "refused.test": "mx2", "busy.test": "mx3", "hostile.test": "mx3", "bare.test": "mx4",
        "ghost.test": "mx4", "alias.test": "mx2", "crooked.test": "mx4", "mute.test": "mx3", "[127.0.0.4]": "mx4",
    }  # fmt: skip
    bad = {
        "null.test": (556, "5.1.10"), "nowhere.test": (550, "5.1.2"), "address.test": (550, "5.4.4"),
        "spectre.test": (550, "5.4.4"), "unwelcome.test": (554, "5.7.1"),  # as `greeting_5xx` has it
    }  # fmt: skip
    sets = {"delivery.greeting_5xx": "bounce"}
    node = town.node(tmp_path, domains='{ "equal.test" = { messages_per_connection = 1 } }', **sets)
    with running(node):
        node.send([f"a@{domain}" for domain in (*good, *bad)], tags=("mx",))
        node.send([f"a{n}@equal.test" for n in range(EQUAL)])
        ends = ended(node, *[f"a@{d}" for d in (*good, *bad)], *[f"a{n}@equal.test" for n in range(EQUAL)])
        for domain, host in good.items():
            assert town.got(domain) == {host: 1}
            line = ends[f"a@{domain}"]
            assert (line["type"], line["code"], line["remote_ip"]) == ("Delivery", 250, HOSTS[host])
            assert line["mx"] == (HOSTS[host] if domain.startswith("[") else _named(domain, host))
        equal = town.got("equal.test")
        assert sum(equal.values()) == EQUAL
        assert equal.keys() == {"mx2", "mx3"}
        for domain, (code, enhanced) in bad.items():
            assert not town.got(domain)
            line = ends[f"a@{domain}"]
            assert (line["type"], line["code"], line["enhanced"], line["attempt"]) == ("Bounce", code, enhanced, 1)
        assert ends["a@unwelcome.test"]["origin"] == "remote"
        assert ends["a@null.test"]["origin"] == "local"
        asked = town.dns.stub.asked
        assert not asked["null.test", "A"] + asked["null.test", "AAAA"] + asked["address.test", "A"]
        assert town.sinks["busy"].sink.connections == 1
        assert summary(node)["Delivery"] == len(good) + EQUAL
        assert not summary(node)["TransientFailure"]
        statement = node.statement("mx")
        assert (statement["delivered"], statement["bounced"], statement["balanced"]) == (len(good), len(bad), True)
        at_rest(node, delivered=len(good) + EQUAL, bounced=len(bad))


def _named(domain: str, host: str) -> str:
    """The host's name as DNS gave it for the domain."""
    return {"bare.test": "bare.test", "crooked.test": "other.hosts.test"}.get(domain, f"{host}.hosts.test")


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6 on loopback")
def test_a_host_with_an_ipv6_address_is_reached_there(town: Town, tmp_path: pathlib.Path) -> None:
    six = SinkThread(host="::1", port=town.port)
    town.dns.stub.aaaa("mx6.hosts.test", "::1")
    town.dns.stub.a("mx6.hosts.test", HOSTS["mx2"])
    town.mx("six.test", (10, "mx6"))
    town.dns.stub.aaaa("half.hosts.test", "::2")  # nobody: its A record is next
    town.dns.stub.a("half.hosts.test", HOSTS["mx3"])
    town.mx("half.test", (10, "half"))
    node = town.node(tmp_path)
    with running(six, node):
        node.send(["a@six.test", "a@half.test"])
        ends = ended(node, "a@six.test", "a@half.test")
        assert len(six.to("six.test")) == 1
        assert (ends["a@six.test"]["remote_ip"], ends["a@six.test"]["mta"]) == ("::1", "::1")
        assert town.got("half.test") == {"mx3": 1}
        at_rest(node, delivered=2)


def deferred_by_dns(node: Node, *addresses: str) -> None:
    """Each of them is tried once, told of the trouble, and goes on waiting."""
    node.send(list(addresses), tags=("dns",))
    until(lambda: all(lines(node, address, "TransientFailure") for address in addresses))
    for address in addresses:
        line = lines(node, address)[0]
        assert (line["code"], line["enhanced"], line["origin"]) == (451, "4.4.3", "local")
        assert line["next_attempt"] > line["time"]
    assert node.statement("dns")["queued"] == len(addresses)


def test_dns_trouble_defers_mail_until_dns_answers_again(town: Town, tmp_path: pathlib.Path) -> None:
    stub = town.dns.stub
    town.mx("broken.test", (10, "mx2"))
    stub.fail("broken.test")
    town.mx("lame.test", (10, "lame"))  # the MX is known, its address is not
    stub.a("lame.hosts.test", HOSTS["mx3"])
    stub.fail("lame.hosts.test", "REFUSED")
    every = ["a@broken.test", "a@lame.test"]
    node = town.node(tmp_path)
    with running(node):
        deferred_by_dns(node, *every)
        assert not town.got("broken.test") | town.got("lame.test")
        stub.rcodes.clear()
        ends = ended(node, *every)
        assert [ends[address]["type"] for address in every] == ["Delivery"] * 2
        assert (town.got("broken.test"), town.got("lame.test")) == ({"mx2": 1}, {"mx3": 1})
        assert ends["a@broken.test"]["attempt"] >= 2
        at_rest(node, delivered=2)


def test_a_dns_server_that_does_not_answer_defers_mail(town: Town, tmp_path: pathlib.Path) -> None:
    """A question takes ten seconds then; nothing else of the mail's way differs from other trouble."""
    town.mx("silent.test", (10, "mx4"))
    town.dns.stub.fail("silent.test", "drop")
    node = town.node(tmp_path)
    with running(node):
        deferred_by_dns(node, "a@silent.test")
        assert not town.got("silent.test")
        at_rest(node, queued=1)
