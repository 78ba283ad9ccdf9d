import contextlib
import pathlib
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.dns_thread import DnsThread
from tests.support.node import running
from tests.support.node_and_sink import NodeAndSink, shared
from tests.support.sink import Received
from tests.support.sink_thread import SinkThread
from tests.support.valkey import free_port

PEERS = {"one.hosts.test": "127.0.0.8", "two.deep.hosts.test": "127.0.0.9"}


class TwoHosts(NodeAndSink):
    """Its destinations are two hosts, each with an address and a name of its own."""

    def __init__(self, folder: pathlib.Path, **sets: Any) -> None:
        super().__init__(folder, embedded=True, **sets)
        self.sinks: dict[str, SinkThread] = {}
        self._dns = DnsThread()

    def destinations(self, stack: contextlib.ExitStack) -> dict[str, Any]:
        stack.enter_context(running(self._dns))
        port = free_port()  # on several addresses: a port that the system gives for one may be taken on another
        for host, ip in PEERS.items():
            sink = self.sinks[host] = SinkThread(host=ip, port=port)
            stack.enter_context(running(sink))
            self._dns.stub.a(host, ip)
        return {"delivery__dns_servers": [self._dns.stub.address], "delivery__mx_port": port}

    def lead(self, domain: str, host: str) -> None:
        self._dns.stub.mx(domain, (10, host))

    def taken(self, domain: str) -> list[Received]:
        return [received for sink in self.sinks.values() for received in sink.to(domain) if received.taken]


@pytest.fixture(scope="package")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwoHosts]:
    pools = {"pools__default": {}, "pools__pair__ips": ["127.0.0.3", "127.0.0.4"]}
    # A domain with settings of its own shares no connection: its mail leaves from the IPs in turn.
    sets: dict[str, Any] = {"domains": '{ "*.both.test" = { messages_per_connection = 1 } }'}
    with shared(TwoHosts(tmp_path_factory.mktemp("s14"), rules__protected_tags=["vip"], **sets, **pools)) as made:
        yield made


@pytest.fixture
def deferring(place: TwoHosts) -> Iterator[None]:
    """Recipients "wait…" get 450 until the test ends."""
    for sink in place.sinks.values():
        sink.script("RCPT", lambda _, argument: "450 4.2.1 later" if "<wait" in argument else None)
    yield
    for sink in place.sinks.values():
        sink.script("RCPT", None)
