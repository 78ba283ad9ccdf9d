"""One node for all tests of the folder; mail goes in over HTTP."""

from collections.abc import Iterator

import pytest

from tests.support.node_and_sink import NodeAndSink, shared


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeAndSink]:
    with shared(NodeAndSink(tmp_path_factory.mktemp("s51"), embedded=True, api__inject_listen="127.0.0.1:0")) as made:
        yield made
