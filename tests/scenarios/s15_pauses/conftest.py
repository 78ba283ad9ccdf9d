from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.node import until
from tests.support.node_and_sink import NodeAndSink, shared


class WithPauses(NodeAndSink):
    def pause(self, **fields: Any) -> Any:
        answer = self.call("POST", "/v1/pauses?wait=50s", fields)
        assert answer["effective"], answer
        return answer

    def held(self, pause: Any, count: int) -> None:
        """It holds exactly so many, and says so everywhere."""
        path = f"/v1/pauses/{pause['id']}"
        until(lambda: self.call("GET", path)["held"] == count, what=lambda: str(self.call("GET", path)))

    def account_at(self, path: str) -> Any:
        """The statement of a pause or a rule once it is complete; it must balance then."""
        return until(
            lambda: (s := self.call("GET", path + "/statement"))["complete"] and s["balanced"] and s, what=path
        )


@pytest.fixture(scope="package")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WithPauses]:
    sets: dict[str, Any] = {"delivery__connections": 1, "pools__default": {}}
    with shared(WithPauses(tmp_path_factory.mktemp("s15"), embedded=True, **sets)) as made:
        yield made
