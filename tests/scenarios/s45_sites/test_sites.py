"""Domains whose mail one provider takes share its limits, over workers, nodes, pools and tenants."""

import pathlib
from collections import Counter

from tests.support.dns_thread import DnsThread
from tests.support.node import Node, running, until
from tests.support.sink_thread import SinkThread
from tests.support.story import at_rest
from tests.support.valkey import Valkey

DOMAINS = 40
MOST = 3


def test_domains_behind_one_site_stay_within_its_budget_on_two_nodes(tmp_path: pathlib.Path) -> None:
    sink, dns, valkey = SinkThread(), DnsThread(), Valkey(tmp_path / "valkey")
    with running(valkey, sink, dns):
        port = sink.sink.port
        for n in range(4):
            dns.stub.a(f"mx{n}.in.big.test", "127.0.0.1")
        domains = [f"d{n}.test" for n in range(DOMAINS)]
        for n, domain in enumerate(domains):
            dns.stub.mx(domain, (10, f"mx{n % 4}.in.big.test"))
        sets = {
            "redis": valkey.url,
            "delivery.dns_servers": [dns.stub.address],
            "delivery.mx_port": port,
            "delivery.idle_timeout": "100ms",
            "sites": f'{{ big = {{ mx = "*.big.test", connections = {MOST} }} }}',
            "pools": "{ one = {}, two = {} }",
        }
        nodes = [Node(tmp_path / name, name, **sets) for name in ("n1", "n2")]
        with running(*nodes):
            for number, node in enumerate(nodes):
                for tenant, pool in (("a", "one"), ("b", "two")):
                    node.send(
                        [f"{tenant}{number}@{domain}" for domain in domains],
                        ("sites",),
                        X_MQ_Tenant=tenant,
                        X_MQ_Pool=pool,
                    )
            total = 4 * DOMAINS
            until(lambda: len(sink.sink.taken) == total, 60.0)
            assert sink.sink.most_open == MOST  # never more, and all were used
            assert set(Counter(message.recipients[0] for message in sink.sink.taken).values()) == {1}
            found = nodes[0].call("GET", "/v1/limits?pool=one&domain=d1.test")[1]
            assert (found["site"], found["limits"][0]["setting"]) == ("big", "sites.big.connections")
            at_rest(nodes[0], delivered=total)
