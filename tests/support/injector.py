"""Mail under load, and what the client was told of each message: the oracle of the fault tests."""

import smtplib
import threading
import time

from tests.support.node import Node


class Injector:
    """Threads that send one message after the other until `stop`; a refused or broken one is not sent again.

    A message's number stands in its recipient: `m<number>@<domain>`. `taken`: answered 250; `refused`: answered 4xx or
    5xx; `unknown`: the connection broke after its dot.
    """

    def __init__(self, *nodes: Node, sessions: int = 4, tag: str = "load", pause: float = 0.0) -> None:
        self._nodes = nodes
        self._tag = tag
        self._pause = pause
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._next = 0
        self.taken: set[str] = set()
        self.refused: set[str] = set()
        self.unknown: set[str] = set()
        self.codes: set[int] = set()
        self._threads = [threading.Thread(target=self._run, args=(n,), daemon=True) for n in range(sessions)]

    def start(self) -> "Injector":
        for thread in self._threads:
            thread.start()
        return self

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(100)
            assert not thread.is_alive()

    def _run(self, number: int) -> None:
        node = self._nodes[number % len(self._nodes)]
        while not self._stop.is_set():
            try:
                with smtplib.SMTP(*node.smtp, timeout=60) as client:
                    client.ehlo()
                    while not self._stop.is_set():
                        self._one(client)
            except (OSError, smtplib.SMTPException):
                time.sleep(0.05)

    def _one(self, client: smtplib.SMTP) -> None:
        with self._lock:
            self._next += 1
            number = self._next
        to = f"m{number}@{('one', 'two', 'three')[number % 3]}.example"
        if client.mail("from@example.org")[0] != 250 or client.rcpt(to)[0] != 250:
            client.rset()
            time.sleep(0.05)
            return
        text = f"X-MQ-Tag: {self._tag}\r\nSubject: {number}\r\n\r\n{'x' * 500}\r\n"
        try:
            code, _ = client.data(text.encode())
        except smtplib.SMTPDataError as refusal:  # to DATA itself: nothing was sent
            code = refusal.smtp_code
        except (OSError, smtplib.SMTPException):
            self.unknown.add(to)
            raise
        self.codes.add(code)
        (self.taken if code == 250 else self.refused).add(to)
        time.sleep(self._pause)
