import asyncio
import smtplib
import time
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from mta.model.rules import AtTheDoor
from mta.model.settings import RedisSettings
from mta.redis_store.link import Link
from mta.redis_store.rule_store import StoredRules
from mta.redis_store.session import StoreSession
from tests.support.node import Node, running, until
from tests.support.recount import assert_balanced
from tests.support.sink_thread import SinkThread
from tests.support.valkey import Valkey


class House:
    """One node on a server of its own, and its destination; tests keep apart by tag."""

    def __init__(self, node: Node, valkey: Valkey, sink: SinkThread) -> None:
        self.node = node
        self.valkey = valkey
        self.sink = sink

    def order(self, goal: str = "effective", **rule: Any) -> dict[str, Any]:
        status, answer = self.node.call("POST", f"/v1/errors?wait=5s&until={goal}", {"code": 554} | rule)
        assert (status, answer["effective"]) == (201, True), answer
        return answer

    def order_refusal(self, **rule: Any) -> dict[str, Any]:
        """The same for one that refuses mail at the door."""
        known = self.order(**rule)
        changed = asyncio.run(_edit(self.valkey.url, known["id"]))

        def look() -> dict[str, Any] | None:
            status, found = self.node.call("GET", f"/v1/errors/{known['id']}")
            assert status == 200, found
            return found if found["effective"] and found["generation"] == changed else None

        return until(look, 10.0)

    def lift(self, rule: dict[str, Any]) -> None:
        status, answer = self.node.call("DELETE", f"/v1/errors/{rule['id']}?wait=5s")
        assert (status, answer["effective"]) == (200, True), answer

    def inject(self, to: str | list[str], *headers: str, body: str = "hello") -> tuple[int, str]:
        """The answer to the end of data."""
        with self.node.client() as client:
            return inject_on(client, to, *headers, body=body)

    def logged(self, tag: str, kind: str, count: int) -> list[dict[str, Any]]:
        """The tag's lines of that type, once there are as many; never more."""

        def look() -> list[dict[str, Any]]:
            return [e for e in self.node.events() if e["type"] == kind and tag in e.get("tags", ())]

        until(lambda: len(look()) >= count, 10.0, f"{kind} of {tag}")
        found = look()
        assert len(found) == count, found
        return found

    def rests(self, tag: str, **classes: int) -> dict[str, Any]:
        """The tag's statement once it says so much; it balances."""
        found = until(
            lambda: (s := self.node.statement(tag)) and all(s[name] == n for name, n in classes.items()) and s,
            10.0,
            f"{tag}: {self.node.statement(tag)}",
        )
        assert found["balanced"], found
        return found

    def got(self, domain: str) -> list[str]:
        """The recipients there whose mail was taken."""
        taken = [r for r in list(self.sink.sink.received) if r.taken]
        return sorted(address for r in taken for address in r.recipients if address.endswith("@" + domain))


def inject_on(client: smtplib.SMTP, to: str | list[str], *headers: str, body: str = "hello") -> tuple[int, str]:
    """The answer to the end of data of one message to all of `to`."""
    assert client.mail("from@example.org")[0] == 250
    for address in [to] if isinstance(to, str) else to:
        assert client.rcpt(address)[0] == 250
    code, reply = client.data("\r\n".join([*headers, "Subject: test", "", body, ""]).encode())
    return code, reply.decode()


async def _edit(url: str, rule_id: str) -> int:
    """Make the rule refuse at the door; the generation that it has then."""
    link = Link(url, RedisSettings())
    await link.open()
    try:
        rules = StoredRules(link, StoreSession("test", "test", ()), 4, 1.0, 1000, 3600.0)
        edited = await rules.edit(
            rule_id, lambda rule: msgspec.structs.replace(rule, at_the_door=AtTheDoor.REJECT), f"{time.time()}"
        )
        assert edited is not None
        return edited[0].rule.generation
    finally:
        await link.close()


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("s16")
    valkey, sink = Valkey(folder / "valkey"), SinkThread()
    with running(valkey, sink):
        node = Node(
            folder / "n1",
            redis=valkey.url,
            delivery__route=sink.address,
            delivery__retries=["1h"],
            rules__max_staleness="1s",
        )
        with running(node):
            yield House(node, valkey, sink)
            assert_balanced(valkey.url)
