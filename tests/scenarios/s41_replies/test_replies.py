"""Replies of destinations are knowledge: D16, D18, C-102."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.node import until
from tests.support.node_and_sink import NodeAndSink, shared

YAHOO = "421 4.7.0 [TSS04] Messages from 192.0.2.1 temporarily deferred due to unexpected volume or user complaints"
BLOCKED = "550 5.7.1 Unfortunately, messages from [192.0.2.1] weren't sent. Their network is on our block list (S3140)"
# name: the reply, the phase, and what the log says of it
REPLIES: dict[str, tuple[str, str, str, str, str]] = {
    "tss04": (YAHOO, "MAIL", "TransientFailure", "ip_block", "infrastructure"),
    "s3140": (BLOCKED, "MAIL", "TransientFailure", "ip_block", "infrastructure"),
    "grey550": ("550 5.7.1 Greylisted, come back later", "RCPT", "TransientFailure", "greylisted", "peer"),
    "full4": ("452 4.2.2 The recipient's inbox is out of storage space.",
        "RCPT", "TransientFailure", "quota", "recipient"),
    "full5": ("552 5.2.2 over quota", "RCPT", "Bounce", "quota", "recipient"),
    "other552": ("552 try fewer of them", "RCPT", "TransientFailure", "", ""),
    "many": ("552 5.5.3 Too many", "RCPT", "TransientFailure", "protocol", "ours"),
    "unknown": ("550 Invalid recipient <user@mx.test> (#5.1.1)", "RCPT", "Bounce", "bad_mailbox", "recipient"),
    "cuda": ("550 cuda_nsu 5.1.1 <user@mx.test>: Recipient address rejected",
        "RCPT", "Bounce", "bad_mailbox", "recipient"),
    "content": ("550 Mail content denied. http://service.mail.qq.com/cgi-bin/help",
        ".", "Bounce", "spam_content", "sender"),
    "frequency": ("550 Connection frequency limited.", "MAIL", "TransientFailure", "rate_limited", "infrastructure"),
    "nobody": ("554 the moon is full", "RCPT", "Bounce", "", ""),
    "own": ("554 the moon is new", "RCPT", "TransientFailure", "policy", "peer"),
}  # fmt: skip
OWN = '{ moon = { pattern = "moon is new", category = "policy-related", fault = "peer", reaction = "retry" } }'


def answer(phase: str, argument: str, senders: dict[int, str], connection: int) -> str | None:
    """The reply of the domain that the mail is for; the name is in the sender's address too."""
    if phase == "MAIL":
        senders[connection] = argument.partition("<")[2].partition("@")[0]
    reply = REPLIES.get(senders.get(connection, ""))
    return reply[0] if reply is not None and reply[1] == phase else None


class Place(NodeAndSink):
    """The destination answers by the sender's name."""

    def start(self) -> None:
        senders: dict[int, str] = {}
        for phase in ("MAIL", "RCPT", "."):
            self.sink.script(
                phase, lambda connection, argument, phase=phase: answer(phase, argument, senders, connection)
            )
        super().start()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    sets = {"workers": 1, "replies": OWN}
    with shared(Place(tmp_path_factory.mktemp("replies"), **sets)) as found:
        with found.node.sender() as client:
            for name in REPLIES:
                lines = (f"X-MQ-Tag: {name}", "Subject: x", "", "hello", "")
                client.sendmail(f"{name}@example.com", [f"user@{name}.test"], "\r\n".join(lines))
        yield found


def failure(place: Place, name: str) -> dict[str, Any]:
    """The line of the first attempt."""
    return until(lambda: next((e for e in place.log_of(name) if e["type"] != "Reception"), None), what=name)


@pytest.mark.parametrize("name", REPLIES)
def test_d16_d18_c102_a_reply_gives_category_fault_and_reaction(place: Place, name: str) -> None:
    _, _, kind, category, fault = REPLIES[name]
    line = failure(place, name)
    assert (line["type"], line.get("category", ""), line.get("fault", "")) == (kind, category, fault), line


def test_d18_the_enhanced_code_is_found_behind_other_words(place: Place) -> None:
    for name in ("unknown", "cuda"):
        assert place.logged(name, "Bounce", 1)[0]["enhanced"] == "5.1.1"


def test_d16_the_record_of_a_delivery_has_category_and_fault(place: Place) -> None:
    for name in ("full4", "full5"):
        line = failure(place, name)
        record = place.call("GET", f"/v1/messages/{line['id']}")
        assert (record["category"], record["fault"]) == ("quota", "recipient"), record


def test_unknown_replies_are_counted_and_an_entry_makes_one_known_on_the_node(place: Place) -> None:
    failure(place, "nobody")

    def counted() -> dict[str, Any] | None:
        found = place.call("GET", "/v1/replies/unknown")["replies"]
        return next((one for one in found if one["text"] == "the moon is full"), None)

    unknown = until(counted, what="the unknown reply is not counted")
    assert (unknown["code"], unknown["count"], unknown["provider"]) == (554, 1, "127.0.0.1")
    entry = {"pattern": "moon is full", "category": "spam-related", "fault": "infrastructure", "reaction": "retry"}
    assert place.call("PUT", "/v1/replies/moonlight", entry, want=(201,))["category"] == "ip_block"
    assert place.call("GET", "/v1/replies?limit=1")["replies"][0]["name"] == "moonlight"

    def known() -> bool:
        with place.node.sender() as client:
            lines = ("X-MQ-Tag: again", "Subject: x", "", "hello", "")
            client.sendmail("nobody@example.com", ["user@nobody.test"], "\r\n".join(lines))
        return any(line.get("category") == "ip_block" for line in place.log_of("again"))

    until(known, what="the new entry is not in force")
    assert place.call("DELETE", "/v1/replies/moonlight")["name"] == "moonlight"
    place.call("DELETE", "/v1/replies/moonlight", want=(404,))


@pytest.mark.parametrize(
    ("field", "body"),
    [
        ("pattern", {"pattern": "a("}),
        ("pattern", {}),
        ("code", {"code": ["5"]}),
        ("category", {"pattern": "a", "category": "moon"}),
    ],
)
def test_an_entry_that_cannot_be_used_is_refused_with_its_field(place: Place, field: str, body: dict[str, Any]) -> None:
    whole = {"category": "policy", "fault": "peer", "reaction": "retry"} | body
    assert place.call("PUT", "/v1/replies/bad", whole, want=(400,))["error"]["field"] == field


def test_statistics_by_category(place: Place) -> None:
    def counted() -> bool:
        found = place.call("GET", "/v1/stats?by=category")
        return any(one["category"] == "quota" and one["deferred"] and one["bounced"] for one in found["stats"])

    until(counted, what="history has no category")
