"""A stream of small messages from several clients, and what each was told."""

import smtplib
import threading
import time
from collections import Counter
from typing import NamedTuple, Self

from tests.support.node import Node, until
from tests.support.recount import assert_balanced
from tests.support.sink_thread import SinkThread


class Told(NamedTuple):
    """One message; times are Unix seconds. `code` is 0 when the connection ended without a reply to `stage`."""

    recipient: str
    stage: str  # "connect", "MAIL", "RCPT", "DATA" (354) or "." (the message)
    code: int
    text: str
    begun: float
    ended: float

    @property
    def accepted(self) -> bool:
        return self.stage == "." and self.code == 250


class MailStream:
    """`with MailStream(node.smtp, "example.com") as stream:` sends until it ends; the sessions are reused."""

    def __init__(self, server: tuple[str, int], domain: str, clients: int = 4, pause: float = 0.01) -> None:
        self._server = server
        self.domain = domain
        self._pause = pause
        self._ending = threading.Event()
        self._lock = threading.Lock()
        self._told: list[Told] = []
        self._threads = [threading.Thread(target=self._client, args=(n,), daemon=True) for n in range(clients)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join(100)
        assert not any(thread.is_alive() for thread in self._threads), "a client waits for ever"

    @property
    def told(self) -> list[Told]:
        with self._lock:
            return list(self._told)

    def latest(self) -> list[Told]:
        """The last answer of each client."""
        return list({told.recipient.partition("-")[0]: told for told in self.told}.values())

    def since(self, when: float) -> list[Told]:
        """The answers since then."""
        return [told for told in self.told if told.ended >= when]

    def _client(self, number: int) -> None:
        session: smtplib.SMTP | None = None
        count = 0
        while not self._ending.is_set():
            recipient = f"m{number}-{count}@{self.domain}"
            count += 1
            begun = time.time()
            stage, code, text, session = self._send(session, recipient)
            with self._lock:
                self._told.append(Told(recipient, stage, code, text, begun, time.time()))
            self._ending.wait(self._pause)
        if session is not None:
            session.close()

    def _send(self, session: smtplib.SMTP | None, recipient: str) -> tuple[str, int, str, smtplib.SMTP | None]:
        stage = "connect"
        try:
            if session is None:
                session = smtplib.SMTP(*self._server, timeout=60)
                session.ehlo("stream.example")
            for stage, command, wanted in (
                ("MAIL", "MAIL FROM:<from@example.org>", 250),
                ("RCPT", f"RCPT TO:<{recipient}>", 250),
                ("DATA", "DATA", 354),
            ):
                code, text = session.docmd(command)
                if code != wanted:
                    session.rset()
                    return stage, code, text.decode(), None if code == 421 else session
            stage = "."
            session.send(b"Subject: stream\r\n\r\n%s\r\n.\r\n" % recipient.encode())
            code, text = session.getreply()
            return stage, code, text.decode(), session
        except (smtplib.SMTPException, OSError):
            if session is not None:
                session.close()
            return stage, 0, "", None


def assert_story(stream: MailStream, sink: SinkThread, node: Node) -> Counter[str]:
    """Every accepted message has arrived, no refused one has, log and books agree; returns arrivals by recipient.

    Of a message whose connection ended without a reply either may be true.
    """
    accepted = {told.recipient for told in stream.told if told.accepted}
    refused = {told.recipient for told in stream.told if told.code >= 400}
    unanswered = {told.recipient for told in stream.told if not told.code}
    domain = stream.domain

    def reached() -> Counter[str]:
        return Counter(r.recipients[0] for r in sink.to(domain) if r.taken)

    until(lambda: accepted <= reached().keys(), what="accepted mail has not arrived")
    until(lambda: not node.call("GET", "/v1/queues")[1]["queues"])
    found = reached()
    assert refused.isdisjoint(found), f"refused and delivered: {refused & found.keys()}"
    assert found.keys() <= accepted | unanswered
    report = assert_balanced(node.ready["redis"])
    assert report.counted[""]["accepted"] == report.counted[""]["delivered"] == len(found)
    logged = {e["recipient"] for e in node.events() if e["type"] == "Delivery"}
    until(lambda: found.keys() <= {e["recipient"] for e in node.events() if e["type"] == "Delivery"})
    assert logged <= found.keys()
    return found
