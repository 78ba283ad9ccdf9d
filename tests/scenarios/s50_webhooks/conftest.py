import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.node import running, until
from tests.support.node_and_sink import NodeAndSink, shared
from tests.support.webhook_receiver import Decide, Reply, WebhookReceiver


@pytest.fixture(scope="package")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeAndSink]:
    folder = tmp_path_factory.mktemp("webhooks")
    with shared(NodeAndSink(folder, webhooks__allow_networks=["127.0.0.0/8"], webhooks__timeout="3s")) as place:
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
def told(place: NodeAndSink, decide: Decide = lambda hook: Reply(), **terms: Any) -> Iterator[Told]:
    receiver = Told(decide)
    with running(receiver):
        receiver.webhook = place.call("POST", "/v1/webhooks", {"url": receiver.url} | terms)
        yield receiver
        place.call("DELETE", receiver.path)
