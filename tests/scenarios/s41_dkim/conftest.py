import os
from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest
from click.testing import Result

from tests.support.commands import call
from tests.support.dkim_judge import signatures
from tests.support.dns_thread import DnsThread
from tests.support.node import TOKEN, Node, running, until
from tests.support.node_and_sink import NodeAndSink, shared


class Signing(NodeAndSink):
    """A node that asks a DNS server of the test, with a second node beside it in some tests."""

    letters = 0  # sent so far: each goes to a domain of its own

    def destinations(self, stack: Any) -> dict[str, Any]:
        self.dns = DnsThread()
        stack.enter_context(running(self.dns))
        return super().destinations(stack) | {"delivery__dns_servers": [self.dns.stub.address]}

    def key(self, domain: str, selector: str, want: tuple[int, ...] = (201,), **fields: Any) -> dict[str, Any]:
        """A new key, which signs at once unless `state` says otherwise."""
        body = {"domain": domain, "selector": selector, "state": "active", "algorithm": "ed25519"} | fields
        made: dict[str, Any] = self.call("POST", "/v1/dkim", body, want)
        return made

    def publish(self, key: dict[str, Any]) -> None:
        record = key["record"]
        self.dns.stub.txt(record["name"], record["value"])

    def sent(self, author: str, node: Node | None = None, **headers: str) -> bytes:
        """A message as its destination got it."""
        self.letters += 1
        domain = f"n{self.letters}.test"
        with (node or self.node).sender() as client:
            lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
            lines += [f"From: {author}", f"To: u@{domain}", "Subject: test", "", "hello", ""]
            client.sendmail("bounce@example.org", f"u@{domain}", "\r\n".join(lines).encode())
        until(lambda: self.taken(domain), what=f"no mail to {domain}")
        return self.taken(domain)[-1].body

    def floodgate(self, name: str, *words: str) -> Result:
        with mock.patch.dict(os.environ, {"FLOODGATE_URL": self.api, "FLOODGATE_TOKEN": TOKEN}):
            return call(name, *words)

    def signed_by(self, author: str, *selectors: str, node: Node | None = None, **headers: str) -> bytes:
        """A message, once mail of the author is signed with these keys: a change is in force within two seconds."""
        found: list[bytes] = []

        def look() -> bool:
            found.append(self.sent(author, node, **headers))
            return [tags["s"] for tags in signatures(found[-1])] == list(selectors)

        until(look, what=lambda: f"not signed by {selectors}: {signatures(found[-1])}")
        return found[-1]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Signing]:
    # One worker: with more of them a key may be in force in one and not yet in the next.
    sets = {"workers": 1, "pools__default__ips": ["127.0.0.1"], "dkim__default_domain": "house.test"}
    with shared(Signing(tmp_path_factory.mktemp("s41"), **sets)) as made:
        yield made
