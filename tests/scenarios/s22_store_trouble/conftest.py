"""One node on one server for a module: each test makes trouble and puts things right again."""

import contextlib
import smtplib
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.node import running, until
from tests.support.node_and_sink import NodeAndSink
from tests.support.rest import ask

TIMEOUT = "4s"


class Troubled(NodeAndSink):
    """Its server is stopped, changed and emptied, so its books are looked at by each test for itself."""

    def readyz(self) -> tuple[int, dict[str, Any]]:
        answer = ask(self.node.ready["api"], "GET", "/readyz", token=None)
        return answer.status, answer.body

    def mail_from(self, sessions: int = 6) -> list[tuple[int, str]]:
        """The replies to MAIL in sessions that are open at the same time, and so spread over the workers; only the
        421 of a worker that takes no sessions yet, if one answers so."""
        with contextlib.ExitStack() as stack:
            try:
                clients = [stack.enter_context(smtplib.SMTP(*self.node.smtp, timeout=30)) for _ in range(sessions)]
                for client in clients:
                    client.ehlo()
                said = [client.mail("from@example.org") for client in clients]
            except smtplib.SMTPConnectError as refused:
                said = [(refused.smtp_code, bytes(refused.smtp_error))]
            except OSError:  # of a worker that has just ended
                said = [(0, b"")]
        return [(code, text.decode()) for code, text in said]

    def mail_is(self, code: int, text: str = "", within: float = 60.0) -> None:
        """Every worker answers MAIL so by now."""
        until(lambda: all(said[0] == code and text in said[1] for said in self.mail_from()), within)

    def delivers(self, address: str) -> None:
        """A message to the address is taken, by whichever worker finds the store again first, and arrives."""
        until(lambda: self._takes(address))
        domain = address.partition("@")[2]
        until(lambda: any(address in message.recipients for message in self.sink.to(domain)))

    def _takes(self, address: str) -> bool:
        with contextlib.suppress(OSError), self.node.client() as client:  # SMTPException is one
            return not client.sendmail("from@example.org", address, "Subject: x\r\n\r\nhello\r\n")
        return False

    def lines_since(self, mark: int) -> list[str]:
        """Lines of the node's log (all its processes) but those of the canary, which may fly at such a moment."""
        return [line for line in self.node.errors()[mark:].splitlines() if "the last canary order" not in line]

    def mark(self) -> int:
        return len(self.node.errors())


@pytest.fixture(scope="module")
def one_place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Troubled]:
    sets: dict[str, Any] = {"redis__timeout": TIMEOUT, "delivery__lease": "30s"}
    made = Troubled(tmp_path_factory.mktemp("trouble"), **sets)
    with running(made):
        yield made


@pytest.fixture
def place(one_place: Troubled) -> Troubled:
    until(lambda: one_place.readyz()[0] == 200)
    one_place.mail_is(250)
    return one_place
