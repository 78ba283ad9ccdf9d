from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.dns_thread import DnsThread
from tests.support.node import Node, running, until
from tests.support.recount import assert_balanced
from tests.support.sink import Received
from tests.support.sink_thread import SinkThread

PEERS = {"one.hosts.test": "127.0.0.8", "two.deep.hosts.test": "127.0.0.9"}


class House:
    """One node and two destinations, each with an address and a name of its own; tests keep apart by domain and tag."""

    def __init__(self, node: Node, dns: DnsThread, sinks: dict[str, SinkThread]) -> None:
        self.node = node
        self.sinks = sinks
        self._dns = dns

    def lead(self, domain: str, host: str) -> None:
        self._dns.stub.mx(domain, (10, host))

    def call(self, method: str, path: str, body: dict[str, Any] | None = None, status: int = 200) -> Any:
        got, answer = self.node.call(method, path, body)
        assert got == status, answer
        return answer

    def order(self, goal: str = "effective", status: int = 201, **rule: Any) -> dict[str, Any]:
        answer = self.call("POST", f"/v1/errors?wait=5s&until={goal}", {"code": 554} | rule, status)
        assert answer["effective"], answer
        return answer

    def edit(self, rule: dict[str, Any], goal: str = "effective", **fields: Any) -> dict[str, Any]:
        answer = self.call("PATCH", f"/v1/errors/{rule['id']}?wait=5s&until={goal}", fields)
        assert answer["effective"], answer
        return answer

    def lift(self, *rules: dict[str, Any]) -> None:
        for rule in rules:
            assert self.call("DELETE", f"/v1/errors/{rule['id']}?wait=5s")["effective"]

    def complete(self, rule: dict[str, Any]) -> dict[str, Any]:
        """The rule's statement once it is complete; it balances then."""
        path = f"/v1/errors/{rule['id']}/statement"
        found = until(lambda: (s := self.call("GET", path))["complete"] and s, 10.0, f"{rule} is not complete")
        assert found["balanced"] is True, found
        return found

    def rests(self, tag: str, **classes: int) -> dict[str, Any]:
        """The tag's statement once it says so much."""
        return until(
            lambda: (s := self.node.statement(tag)) and all(s[name] == n for name, n in classes.items()) and s,
            10.0,
            f"{tag}: {self.node.statement(tag)}",
        )

    def logged(self, tag: str, kind: str, count: int) -> list[dict[str, Any]]:
        """The tag's lines of that type, once there are as many; never more."""

        def look() -> list[dict[str, Any]]:
            return [e for e in self.node.events() if e["type"] == kind and tag in e.get("tags", ())]

        until(lambda: len(look()) >= count, 10.0, f"{kind} of {tag}")
        found = look()
        assert len(found) == count, found
        return found

    def got(self, domain: str) -> list[Received]:
        return [r for sink in self.sinks.values() for r in sink.to(domain) if r.taken]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    dns, sinks, port = DnsThread(), {}, 0
    dns.start()
    try:
        for host, ip in PEERS.items():
            sinks[host] = SinkThread(host=ip, port=port).start()
            port = sinks[host].sink.port
            dns.stub.a(host, ip)
        node = Node(
            tmp_path_factory.mktemp("s14") / "n1",
            delivery__dns_servers=[dns.stub.address],
            delivery__mx_port=port,
            delivery__retries=["1h"],
            delivery__lease="5s",
            rules__max_staleness="1s",
            rules__protected_tags=["vip"],
            pools__default={},
            pools__pair__ips=["127.0.0.3", "127.0.0.4"],
        )
        with running(node):
            yield House(node, dns, sinks)
            assert_balanced(node.ready["redis"])
    finally:
        for sink in sinks.values():
            sink.stop()
        dns.stop()


@pytest.fixture
def deferring(house: House) -> Iterator[None]:
    """Recipients "wait…" get 450 until the test ends."""
    for sink in house.sinks.values():
        sink.script("RCPT", lambda _, argument: "450 4.2.1 later" if "<wait" in argument else None)
    yield
    for sink in house.sinks.values():
        sink.script("RCPT", None)
