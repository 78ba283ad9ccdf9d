from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.node_and_sink import NodeAndSink, shared

SETS: dict[str, Any] = {
    "suppressions__auto": ["hard_bounce", "unsubscribe"],
    "tracking__url": "https://click.example.com",
    "tracking__listen": "127.0.0.1:0",
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeAndSink]:
    with shared(NodeAndSink(tmp_path_factory.mktemp("s47"), **SETS)) as made:
        yield made
