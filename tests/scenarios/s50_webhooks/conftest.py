from collections.abc import Iterator

import pytest

from tests.support.node_and_sink import NodeAndSink, shared


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeAndSink]:
    folder = tmp_path_factory.mktemp("webhooks")
    with shared(NodeAndSink(folder, webhooks__allow_networks=["127.0.0.0/8"], webhooks__timeout="3s")) as place:
        yield place
