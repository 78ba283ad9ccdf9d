from collections.abc import Iterator

import pytest

from tests.support.node_and_sink import NodeAndSink, shared


@pytest.fixture(scope="package")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeAndSink]:
    pools = {"pools__default": {}, "pools__shared-1__ips": ["127.0.0.2"]}
    with shared(NodeAndSink(tmp_path_factory.mktemp("s37"), **pools, delivery__retries=["1h"])) as made:
        yield made
