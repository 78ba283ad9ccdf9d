"""Mail is signed with the active keys of the domain that answers for it, and independent verifiers agree."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.dkim_judge import records_of, signatures, verified
from tests.support.dns_thread import DnsThread
from tests.support.node import running, until
from tests.support.node_and_sink import NodeAndSink, shared


class Signing(NodeAndSink):
    """A node that asks a DNS server of the test."""

    def destinations(self, stack: Any) -> dict[str, Any]:
        self.dns = DnsThread()
        stack.enter_context(running(self.dns))
        return super().destinations(stack) | {"delivery__dns_servers": [self.dns.stub.address]}

    def key(self, domain: str, selector: str, want: tuple[int, ...] = (201,), **fields: Any) -> dict[str, Any]:
        """A new key that signs at once."""
        body = {"domain": domain, "selector": selector, "state": "active", "algorithm": "ed25519"} | fields
        made: dict[str, Any] = self.call("POST", "/v1/dkim", body, want)
        return made

    def sent(self, author: str, to: str, **headers: str) -> bytes:
        """The message as its destination got it."""
        with self.node.client() as client:
            lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
            lines += [f"From: {author}", f"To: {to}", "Subject: test", "", "hello", ""]
            client.sendmail("bounce@example.org", to, "\r\n".join(lines).encode())
        domain = to.rpartition("@")[2]
        until(lambda: self.taken(domain), 20.0, f"no mail to {domain}")
        return self.taken(domain)[-1].body

    def signed_by(self, author: str, *selectors: str, **headers: str) -> bytes:
        """A message, once mail of the author is signed with these keys: a change is in force within two seconds."""
        found: list[bytes] = []

        def look() -> bool:
            self._number = getattr(self, "_number", 0) + 1
            found.append(self.sent(author, f"u@n{self._number}.test", **headers))
            return [tags["s"] for tags in signatures(found[-1])] == list(selectors)

        until(look, 20.0, lambda: f"not signed by {selectors}: {signatures(found[-1])}")
        return found[-1]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Signing]:
    with shared(Signing(tmp_path_factory.mktemp("s41"))) as made:
        yield made


def test_s110_all_active_keys_of_a_domain_sign(place: Signing) -> None:
    rsa = place.key("two.test", "r1", algorithm="rsa")
    ed = place.key("two.test", "e1")
    message = place.signed_by("Some One <a@two.test>", "e1", "r1")
    assert verified(message, records_of(rsa, ed)) == ["e1", "r1"]
    first, second = signatures(message)
    assert (first["a"], second["a"], first["d"]) == ("ed25519-sha256", "rsa-sha256", "two.test")
    assert first["h"].split(":").count("from") == 2
    assert message.startswith(b"Received: ")
