"""Several hosts on loopback with the DNS that names them, and one node of one worker that sends to them."""

import contextlib
import pathlib
from collections.abc import Iterator

import pytest

from tests.support.dns_thread import DnsThread
from tests.support.node import Node, running
from tests.support.sink_thread import SinkThread
from tests.support.valkey import free_port

HOSTS = {"first": "127.0.0.2", "second": "127.0.0.3", "third": "127.0.0.4", "nobody": "127.0.0.7"}


class Hosts:
    def __init__(self, folder: pathlib.Path) -> None:
        self._folder = folder
        self._stack = contextlib.ExitStack()
        self.dns = DnsThread()
        self.sinks: dict[str, SinkThread] = {}

    def start(self) -> None:
        self._stack.enter_context(running(self.dns))
        port = free_port()  # on several addresses: a port that the system gives for one may be taken on another
        for name, ip in HOSTS.items():
            self.dns.stub.a(f"{name}.hosts.test", ip)
            if name != "nobody":
                sink = self.sinks[name] = SinkThread(host=ip, port=port)
                self._stack.enter_context(running(sink))
        sets = {
            "delivery.dns_servers": [self.dns.stub.address],
            "delivery.mx_port": port,
            "delivery.retries": ["1h"],
            "node.drain_timeout": "1s",
        }
        self.node = Node(self._folder, workers=1, **sets)
        self._stack.enter_context(running(self.node))

    def stop(self) -> None:
        self._stack.close()

    def mx(self, domain: str, *names: str) -> None:
        """The hosts of a domain, the best first."""
        self.dns.stub.mx(domain, *[(10 * n, f"{name}.hosts.test") for n, name in enumerate(names, 1)])

    def got(self, domain: str) -> dict[str, list[str]]:
        """Recipients of the domain by host."""
        got = {
            name: sorted(r for m in sink.sink.taken for r in m.recipients if r.endswith(f"@{domain}"))
            for name, sink in self.sinks.items()
        }
        return {name: recipients for name, recipients in got.items() if recipients}

    def lines(self, domain: str) -> list[tuple[str, str, int]]:
        """(type, host, attempt) of each line about the domain, Receptions aside."""
        return [
            (line["type"], line.get("mx", ""), line.get("attempt", 0))
            for line in self.node.events()
            if line.get("domain") == domain and line["type"] != "Reception"
        ]


@pytest.fixture(scope="package")
def shared_hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    hosts = Hosts(tmp_path_factory.mktemp("hosts"))
    with running(hosts):
        yield hosts


@pytest.fixture
def hosts(shared_hosts: Hosts) -> Iterator[Hosts]:
    yield shared_hosts
    for sink in shared_hosts.sinks.values():
        sink.sink.script.clear()
        sink.sink.recipients.clear()
