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
from tests.support.node import until
from tests.support.node_and_sink import NodeAndSink, shared


class Refusing(NodeAndSink):
    """A node whose forced errors may refuse mail while it comes in."""

    def order_refusal(self, **rule: Any) -> dict[str, Any]:
        """A forced error that refuses mail at the door."""
        known = self.order(**rule)
        changed = asyncio.run(_edit(self.valkey.url, known["id"]))

        def look() -> dict[str, Any] | None:
            found: dict[str, Any] = self.call("GET", f"/v1/errors/{known['id']}")
            return found if found["effective"] and found["generation"] == changed else None

        return until(look)

    def inject(self, to: str | list[str], *headers: str, body: str = "hello") -> tuple[int, str]:
        """The answer to the end of data."""
        with self.node.sender() as client:
            return inject_on(client, to, *headers, body=body)


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
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Refusing]:
    with shared(Refusing(tmp_path_factory.mktemp("s16"), delivery__lease="30s")) as made:
        yield made
