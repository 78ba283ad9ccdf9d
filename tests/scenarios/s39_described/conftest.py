from collections.abc import Iterator

import pytest

from tests.support.node_and_sink import NodeAndSink, shared


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeAndSink]:
    with shared(
        NodeAndSink(tmp_path_factory.mktemp("s39"), workers=1, api__token_rate="100000/s", api__wait="2s")
    ) as made:
        yield made
