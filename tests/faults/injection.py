"""Mail with idempotency keys over SMTP and HTTP while processes and the server are killed: each key counts once."""

import http.client
import json
import pathlib
import random
import re
import signal
import smtplib
import threading
import time
from collections import Counter, defaultdict
from contextlib import ExitStack, suppress
from typing import Any, Final

import psutil

from tests.support.node import Node, module_of, running, until
from tests.support.recount import assert_balanced
from tests.support.rest import ask
from tests.support.sink_thread import SinkThread
from tests.support.valkey import Valkey

TAG: Final = "once"
_SETTINGS: Final[dict[str, Any]] = {
    "delivery__lease": "5s", "delivery__retries": ["1s"], "rules__max_staleness": "1s", "redis__timeout": "1s",
}  # fmt: skip
_PATIENCE: Final = 60.0  # seconds for a key
_ID: Final = re.compile(rb"\bid ([0-9A-Z]{26})")


class InjectionFaults:
    """One run: `seed` decides about the faults and the calls."""

    def __init__(self, folder: pathlib.Path, seed: int, seconds: float = 8.0) -> None:
        self._seed = seed
        self._random = random.Random(seed)
        self._seconds = seconds
        self.sink = SinkThread()
        self.valkey = Valkey(folder / "valkey")
        self._folder = folder / "n1"
        self.node: Node
        self.killed: Counter[str] = Counter()
        self.repeated = 0  # calls that were made again
        self._told: dict[str, str] = {}  # recipient -> id of its message, as the answer had it
        self._wrong: list[str] = []
        self._ending = threading.Event()

    def run(self) -> None:
        """Raises AssertionError where a message was accepted twice, lost, or answered otherwise in a repeat."""
        with ExitStack() as stack:
            stack.enter_context(running(self.sink))
            stack.enter_context(running(self.valkey))
            sets = _SETTINGS | {"delivery__route": self.sink.address}
            self.node = Node(self._folder, redis=self.valkey.url, **sets)
            stack.enter_context(running(self.node))
            clients = [
                threading.Thread(target=self._client, args=(number, attempt), daemon=True)
                for number, attempt in enumerate((self._by_smtp, self._by_smtp, self._by_http, self._by_http))
            ]
            for client in clients:
                client.start()
            end = time.monotonic() + self._seconds
            while time.monotonic() < end:
                time.sleep(self._random.uniform(0.1, 0.8))
                self._fault()
            self._ending.set()
            for client in clients:
                client.join(2 * _PATIENCE)
                assert not client.is_alive(), "a client waits for ever"
            assert not self._wrong, self._wrong[:5]
            self._compare()

    def figures(self) -> dict[str, int]:
        """Deliveries that were accepted, and calls that were made again."""
        return {"deliveries": len(self._told), "repeats": self.repeated}

    def _fault(self) -> None:
        kind = self._random.choice(["worker", "worker", "inject", "inject", "control_api", "server"])
        self.killed[kind] += 1
        if kind == "server":
            self.valkey.stop(signal.SIGKILL)
            time.sleep(self._random.uniform(0.0, 0.5))
            self.valkey.start()
            return
        module = {"worker": "mta.runtime.worker", "inject": "control_api.injection"}.get(kind, kind)
        children = psutil.Process(self.node.process.pid).children()  # type: ignore[union-attr]
        found = [child for child in children if module_of(child) == module]
        if found:
            with suppress(psutil.NoSuchProcess):
                self._random.choice(found).kill()

    def _client(self, number: int, attempt: Any) -> None:
        """Hands one call after the other in, each until it has its answer, and some of them again."""
        chance = random.Random(f"{self._seed} {number}")
        count = 0
        while not self._ending.is_set():
            key = f"{number}-{count}"
            count += 1
            to = [f"r{at}-{key}@once.test" for at in range(chance.choice((1, 1, 7, 130)))]
            try:
                first = self._insist(attempt, key, to)
                if chance.random() < 0.5 and self._insist(attempt, key, to) != first:
                    raise AssertionError(f"{key}: the repeat was answered otherwise")
            except AssertionError as wrong:
                self._wrong.append(str(wrong))
                return
            self._told |= first

    def _insist(self, attempt: Any, key: str, to: list[str]) -> dict[str, str]:
        end = time.monotonic() + _PATIENCE
        while time.monotonic() < end:
            try:
                found = attempt(key, to)
            except (OSError, smtplib.SMTPException, http.client.HTTPException, json.JSONDecodeError):
                found = None
            if found is not None:
                return found  # type: ignore[no-any-return]
            self.repeated += 1
            time.sleep(0.02)
        raise AssertionError(f"{key} has no answer after {_PATIENCE:g} s")

    def _by_smtp(self, key: str, to: list[str]) -> dict[str, str] | None:
        """The id of each recipient's message; None: to be tried again."""
        with smtplib.SMTP(*self.node.smtp, timeout=20) as client:
            client.ehlo("client.test")
            if client.mail("from@example.org")[0] != 250 or any(client.rcpt(one)[0] != 250 for one in to):
                return None
            lines = (f"X-MQ-Idempotency-Key: {key}", f"X-MQ-Tag: {TAG}", f"Subject: {key}", "", "hello", "")
            code, reply = client.data("\r\n".join(lines).encode())
        if code != 250:
            assert code in (421, 451, 452), (key, code, reply)
            return None
        return dict.fromkeys(to, reply.decode().rpartition(" ")[2])

    def _by_http(self, key: str, to: list[str]) -> dict[str, str] | None:
        body = {"from": "from@example.org", "to": to, "separate": True, "subject": key, "text": "hello", "tags": [TAG]}
        raw = json.dumps(body).encode()
        answer = ask(str(self.node.ready["api"]), "POST", "/v1/messages", raw, Idempotency_Key=key)
        if answer.status != 202:
            assert answer.status in (409, 503), (key, answer.status, answer.body)
            return None
        return {one["recipient"]: one["message_id"] for one in answer.body["recipients"]}

    def _compare(self) -> None:
        def receipts() -> dict[str, set[str]]:
            found: defaultdict[str, set[str]] = defaultdict(set)
            for one in self.sink.to("once.test"):
                if one.taken and (named := _ID.search(one.body)):
                    for recipient in one.recipients:
                        found[recipient].add(named[1].decode())
            return dict(found)

        until(lambda: self._told.keys() <= receipts().keys(), _PATIENCE, "mail that was accepted has not arrived")
        until(lambda: self.node.statement(TAG)["queued"] == 0, _PATIENCE, "mail waits")
        found = receipts()
        wanted = {recipient: {message} for recipient, message in self._told.items()}
        assert found == wanted, [
            (one, found.get(one), wanted.get(one)) for one in found if found[one] != wanted.get(one)
        ]
        statement = self.node.statement(TAG)
        assert statement["accepted"] == len(self._told), (statement, len(self._told))
        assert statement["balanced"], statement
        assert_balanced(self.valkey.url)
