from collections.abc import Iterator

import pytest

from tests.support.node_and_sink import NodeAndSink, shared


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeAndSink]:
    pools = {"pools__default": {}, "pools__gold__ips": ["127.0.0.2"]}
    with shared(NodeAndSink(tmp_path_factory.mktemp("s10"), rules__max_staleness="2s", **pools)) as made:
        yield made
