import csv
import io
import json
import os
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.command_forks import Said, floodgate
from tests.support.node import TOKEN, until
from tests.support.node_and_sink import NodeAndSink, shared
from tests.support.rest import ask


class WithHistory(NodeAndSink):
    """Its history is read over REST and by commands."""

    def floodgate(self, *words: str) -> Said:
        """A client command, as a program of its own."""
        return floodgate(*words, environ=os.environ | {"FLOODGATE_URL": self.api, "FLOODGATE_TOKEN": TOKEN})

    def listed(self, query: str, count: int) -> list[dict[str, Any]]:
        """The records of the first page once there are so many."""
        found: list[dict[str, Any]] = []

        def look() -> bool:
            found[:] = self.call("GET", f"/v1/messages?{query}", want=(200,))["messages"]
            return len(found) >= count

        until(look, what=lambda: f"{query}: {found}")
        assert len(found) == count, found
        return found

    def exported(self, path: str) -> list[dict[str, str]]:
        """The rows of a stream in CSV."""
        answer = ask(self.api, "GET", path)
        assert answer.status == 200, answer
        return list(csv.DictReader(io.StringIO(answer.body.decode(), newline="")))

    def in_lines(self, path: str) -> list[dict[str, Any]]:
        """The objects of a stream in NDJSON."""
        answer = ask(self.api, "GET", path)
        assert answer.status == 200, answer
        return [json.loads(line) for line in answer.body.splitlines()]

    def history_of(self, id_: str, kind: str) -> list[dict[str, Any]]:
        """The events of a message, once there is one of that type."""

        def look() -> list[dict[str, Any]] | None:
            events: list[dict[str, Any]] = self.call("GET", f"/v1/messages/{id_}/history", want=(200,))["events"]
            return events if any(event["type"] == kind for event in events) else None

        return until(look, what=f"{kind} of {id_}")


@pytest.fixture(scope="package")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WithHistory]:
    sets: dict[str, Any] = {"delivery__retries": ["1s"], "pools__default": {}, "status__retention": "24h"}
    with shared(WithHistory(tmp_path_factory.mktemp("s36"), **sets)) as made:
        yield made
