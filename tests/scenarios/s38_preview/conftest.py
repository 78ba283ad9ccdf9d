from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.node import until
from tests.support.node_and_sink import NodeAndSink, shared


class WithPreviews(NodeAndSink):
    def preview(self, want: tuple[int, ...] = (200, 202), **rule: Any) -> Any:
        """The preview once the queues have been walked."""
        asked = self.call("POST", "/v1/errors/preview", rule, want)
        path = f"/v1/errors/preview/{asked['id']}"
        return until(lambda: (found := self.call("GET", path))["state"] == "done" and found, what=path)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WithPreviews]:
    sets: dict[str, Any] = {
        "delivery__lease": "20s",
        "rules__max_staleness": "2s",
        "pools__default": {},
        "pools__gold__ips": ["127.0.0.2"],
    }
    with shared(WithPreviews(tmp_path_factory.mktemp("s38"), embedded=True, **sets)) as made:
        yield made
