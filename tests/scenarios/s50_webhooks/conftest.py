import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.dns_thread import DnsThread
from tests.support.node import running, until
from tests.support.node_and_sink import NodeAndSink, shared
from tests.support.webhook_receiver import Decide, Reply, WebhookReceiver


class NodeWithDns(NodeAndSink):
    """Its requests may go to 127.0.0.1, and to no other address of loopback."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, webhooks__allow_networks=["127.0.0.1/32"], webhooks__timeout="6s")
        self._dns = DnsThread()
        self.names = self._dns.stub

    def destinations(self, stack: contextlib.ExitStack) -> dict[str, Any]:
        stack.enter_context(running(self._dns))
        return super().destinations(stack) | {"delivery__dns_servers": [self.names.address]}


@pytest.fixture(scope="package")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeWithDns]:
    with shared(NodeWithDns(tmp_path_factory.mktemp("webhooks"))) as place:
        yield place


class Told(WebhookReceiver):
    """A receiver that an endpoint of the node leads to."""

    webhook: dict[str, Any]

    @property
    def path(self) -> str:
        return f"/v1/webhooks/{self.webhook['id']}"

    @property
    def secret(self) -> str:
        return str(self.webhook["secret"])

    def wait(self, tag: str, count: int, within: float = 60.0) -> None:
        """Until so many records of the tag's mail have come."""
        until(lambda: len(self.told(tag)) >= count, within, lambda: f"{tag}: {len(self.told(tag))} of {count} are told")


@contextlib.contextmanager
def told(
    place: NodeAndSink, decide: Decide = lambda hook: Reply(), host: str = "127.0.0.1", port: int = 0, **terms: Any
) -> Iterator[Told]:
    """`host`: the endpoint's URL names the receiver so. `port`: 0 = any that is free."""
    receiver = Told(decide, port=port)
    with running(receiver):
        url = f"http://{host}:{receiver.port}/hook"
        receiver.webhook = place.call("POST", "/v1/webhooks", {"url": url} | terms)
        yield receiver
        place.call("DELETE", receiver.path)
