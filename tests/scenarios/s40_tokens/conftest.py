from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.node import Node, running
from tests.support.node_and_sink import NodeAndSink, shared
from tests.support.rest import ask


class Accounts(NodeAndSink):
    """A node with its destination, and the tokens of its accounts."""

    def token(self, *scopes: str, tenant: str | None = None) -> dict[str, Any]:
        """A new token, as the API answered it."""
        body = {"name": "crm", "scopes": list(scopes)} | ({"tenant": tenant} if tenant else {})
        made: dict[str, Any] = self.call("POST", "/v1/tokens", body)
        return made

    def asks(self, token: dict[str, Any], method: str, path: str, body: bytes | None = None) -> tuple[int, Any]:
        """(status, JSON) of a request with that token."""
        answer = ask(self.api, method, path, body, token=token["token"])
        return answer.status, answer.body


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Accounts]:
    sets: dict[str, Any] = {"rules__max_staleness": "2s", "pools__default": {}, "pools__gold__ips": ["127.0.0.2"]}
    folder = tmp_path_factory.mktemp("s40")
    with shared(
        Accounts(folder, api__token_rate=30, api__metrics_open=False, rules__protected_tags=["vip"], **sets)
    ) as made:
        yield made


@pytest.fixture(scope="module")
def other(place: Accounts, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A second node on the same store, which answers the API alone."""
    sets = {"rules__max_staleness": "2s", "node__roles": ["api"]}
    node = Node(tmp_path_factory.mktemp("s40") / "n2", "n2", redis=place.node.ready["redis"], **sets)
    with running(node):
        yield node
