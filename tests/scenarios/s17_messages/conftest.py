from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.node import until
from tests.support.node_and_sink import NodeAndSink, shared
from tests.support.rest import Answer, ask

STALENESS = 3  # seconds


class WithMessages(NodeAndSink):
    """Its single messages are asked for and canceled."""

    def show(self, message: str) -> Any:
        """The record of a message that is known."""
        answer = ask(self.node.ready["api"], "GET", f"/v1/messages/{message}")
        assert answer.status == 200, answer
        return answer.body

    def cancel(self, message: str, wait: str = "20s") -> Answer:
        return ask(self.node.ready["api"], "POST", f"/v1/messages/{message}/cancel?wait={wait}")

    def send_together(self, tag: str, *to: str) -> str:
        """The id of one message to all of these."""
        with self.node.sender() as client:
            assert client.mail("from@example.org")[0] == 250
            assert all(client.rcpt(address)[0] == 250 for address in to)
            code, reply = client.data(f"X-MQ-Tag: {tag}\r\nSubject: {tag}\r\n\r\nhello\r\n".encode())
        assert code == 250
        return reply.decode().rpartition(" ")[2]

    def becomes(self, message: str, status: str) -> Any:
        """Its record once its headline says so."""
        return until(lambda: (r := self.show(message))["status"] == status and r, what=f"{self.show(message)}")

    def lines(self, message: str, kind: str) -> list[dict[str, Any]]:
        return [e for e in self.node.events() if e.get("message_id") == message and e["type"] == kind]

    def line(self, message: str, kind: str) -> dict[str, Any]:
        """The message's one line of that type."""
        (line,) = until(lambda: self.lines(message, kind), what=f"{kind} of {message}")
        return line

    def holder(self) -> tuple[str, int]:
        """Session and process id of the one worker that holds something."""

        def look() -> tuple[str, int] | None:
            for worker in self.node.call("GET", "/v1/workers")[1]["workers"]:
                for lane in range(4):
                    held = self.valkey.ask("HLEN", f"fg:{{{lane}}}:claimed:{worker['session']}")
                    if held.strip() != b":0":
                        return str(worker["session"]), int(worker["pid"])
            return None

        found: tuple[str, int] = until(look)
        return found


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WithMessages]:
    sets = {"rules__max_staleness": f"{STALENESS}s", "delivery__lease": "8s"}
    with shared(WithMessages(tmp_path_factory.mktemp("s17"), **sets)) as made:
        yield made


@pytest.fixture(autouse=True)
def _usual_answers_afterwards(place: WithMessages) -> Iterator[None]:
    yield
    for verb in ("RCPT", "DATA", "."):
        place.sink.script(verb, None)
    place.sink.release("250 2.0.0 taken")
