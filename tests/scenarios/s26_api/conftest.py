import os
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.command_forks import Said, floodgate
from tests.support.node import TOKEN
from tests.support.node_and_sink import NodeAndSink, shared


class WithCommands(NodeAndSink):
    """It is spoken to by client commands, too."""

    def floodgate(self, *words: str) -> Said:
        """A client command, as a program of its own."""
        return floodgate(*words, environ=os.environ | {"FLOODGATE_URL": self.api, "FLOODGATE_TOKEN": TOKEN})

    def scheduled(self, tag: str, domain: str, count: int) -> str:
        """The id of a message to so many recipients, due in an hour."""
        with self.node.sender() as client:
            assert client.mail("from@example.org")[0] == 250
            for number in range(count):
                assert client.rcpt(f"r{number}@{domain}")[0] == 250
            lines = [
                f"X-MQ-Tag: {tag}",
                "X-MQ-Delayed: +1h",
                "From: from@example.org",
                "Subject: later",
                "",
                "hello",
                "",
            ]
            code, reply = client.data("\r\n".join(lines).encode())
            assert code == 250, reply
            return str(reply.decode().rpartition(" ")[2])


@pytest.fixture(scope="package")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WithCommands]:
    sets: dict[str, Any] = {
        "rules__sweep_rate": "300/s",
        "delivery__lease": "30s",
        "delivery__retries": ["1s"],
        "pools__default": {},
    }
    with shared(WithCommands(tmp_path_factory.mktemp("s26"), **sets)) as made:
        yield made
