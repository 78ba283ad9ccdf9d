"""One node for all tests of the folder; mail goes in over HTTP."""

import json
from collections.abc import Iterator

import pytest

from tests.support.node import until
from tests.support.node_and_sink import NodeAndSink, shared
from tests.support.rest import ask

TRACKING = "http://click.example.com/t"


class HttpMail(NodeAndSink):
    """Its mail comes over HTTP."""

    def spared(self, rule: str, count: int) -> list[object]:
        """The export of the deliveries that a rule has ended, once there are so many."""
        rows: list[object] = []

        def exported() -> bool:
            answer = ask(self.api, "GET", f"/v1/errors/{rule}/deliveries?class=intercepted&format=ndjson")
            rows[:] = [json.loads(line) for line in answer.body.splitlines()]
            return len(rows) == count

        until(exported, what=lambda: f"{rows}")
        return rows


@pytest.fixture(scope="package")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpMail]:
    sets = {"api__inject_listen": "127.0.0.1:0", "tracking__url": TRACKING, "tracking__listen": "127.0.0.1:0"}
    with shared(HttpMail(tmp_path_factory.mktemp("s51"), embedded=True, **sets)) as made:
        yield made
