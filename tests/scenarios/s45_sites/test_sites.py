"""Domains behind one site share its limits and its connections, over workers, nodes, pools and tenants."""

import pathlib
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.support.dns_thread import DnsThread
from tests.support.node import Node, running, until
from tests.support.sink_thread import SinkThread
from tests.support.story import at_rest
from tests.support.valkey import Valkey

DOMAINS = 500
MOST = 3


class Town:
    """A provider with four MX hosts that takes the mail of all domains, and two nodes that send to it."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.sink, self.dns, self.valkey = SinkThread(), DnsThread(), Valkey(folder / "valkey")
        self.folder = folder
        self.domains = [f"d{n}.test" for n in range(DOMAINS)]
        self.nodes: list[Node] = []

    def start(self) -> "Town":
        self.valkey.start()
        self.sink.start()
        self.dns.start()
        for n in range(4):
            self.dns.stub.a(f"mx{n}.in.big.test", "127.0.0.1")
        for n, domain in enumerate(self.domains):
            self.dns.stub.mx(domain, (10, f"mx{n % 4}.in.big.test"))
        sets = {
            "redis": self.valkey.url,
            "delivery.dns_servers": [self.dns.stub.address],
            "delivery.mx_port": self.sink.sink.port,
            "sites": f'{{ big = {{ mx = "*.big.test", connections = {MOST} }} }}',
            "pools": "{ one = {}, two = {} }",
        }
        self.nodes = [Node(self.folder / name, name, **sets) for name in ("n1", "n2")]
        for node in self.nodes:
            node.start()
        return self

    def stop(self) -> None:
        for part in (*self.nodes, self.dns, self.sink, self.valkey):
            part.stop()


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    place = Town(tmp_path_factory.mktemp("sites"))
    with running(place):
        yield place


def test_two_tenants_to_500_domains_behind_one_site_never_exceed_its_budget_on_two_nodes(town: Town) -> None:
    for number, (tenant, pool) in enumerate((("a", "one"), ("b", "two"))):
        every = [f"{tenant}@{domain}" for domain in town.domains]
        text = f"X-MQ-Tag: sites\r\nX-MQ-Tenant: {tenant}\r\nX-MQ-Pool: {pool}\r\nSubject: test\r\n\r\nhello\r\n"
        with town.nodes[number].client() as client:
            assert client.sendmail("from@example.org", every, text) == {}
    total = 2 * DOMAINS
    sink = town.sink.sink
    until(lambda: len(sink.taken) == total, 100.0)
    assert sink.most_open == MOST  # never more, and all were used
    assert set(Counter(message.recipients[0] for message in sink.taken).values()) == {1}
    assert sink.connections < DOMAINS  # domains with the same host use one another's connections
    found = town.nodes[0].call("GET", "/v1/limits?pool=one&domain=d1.test")[1]
    assert (found["site"], found["limits"][0]["setting"]) == ("big", "sites.big.connections")
    at_rest(town.nodes[0], delivered=total)
