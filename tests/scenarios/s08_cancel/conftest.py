from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.node_and_sink import NodeAndSink, shared


@pytest.fixture(scope="package")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeAndSink]:
    pools = {"pools__default": {}, "pools__gold__ips": ["127.0.0.2"], "pools__pair__ips": ["127.0.0.3", "127.0.0.4"]}
    # A domain with settings of its own shares no connection: its mail leaves from the IPs in turn.
    sets: dict[str, Any] = {
        "delivery__connections": 40,
        "domains": '{ "*.pair.test" = { messages_per_connection = 1 } }',
    }
    with shared(NodeAndSink(tmp_path_factory.mktemp("s08"), embedded=True, **sets, **pools)) as made:
        yield made


@pytest.fixture
def deferring(place: NodeAndSink) -> Iterator[Callable[[str], None]]:
    """`deferring("example.test")`: recipients there and below it get 450 until the test ends."""
    domains: list[str] = []

    def answer(_: int, argument: str) -> str | None:
        domain = argument.partition("@")[2].partition(">")[0]
        slow = any(domain == name or domain.endswith("." + name) for name in domains)
        return "450 4.2.1 later" if slow else None

    place.sink.script("RCPT", answer)
    yield domains.append
    place.sink.script("RCPT", None)
