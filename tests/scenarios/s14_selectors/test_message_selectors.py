"""Rules that ask for the message: its addresses and the time of its acceptance; and rules for several domains."""

from collections.abc import Sequence
from typing import Any

import pytest

from tests.support.node import until
from tests.support.sink import HOLD

ONE = "one.hosts.test"


def send(place: Any, sender: str, to: Sequence[str], tag: str) -> str:
    """One message for all recipients; its id."""
    with place.node.sender() as client:
        client.mail(sender)
        for recipient in to:
            client.rcpt(recipient)
        status, said = client.data(f"X-MQ-Tag: {tag}\r\nSubject: x\r\n\r\nhello\r\n")
        assert status == 250, said
    return str(said.decode().rsplit(" ", 1)[-1])


def arrived(place: Any, domain: str) -> list[str]:
    return sorted(recipient for received in place.taken(domain) for recipient in received.recipients)


def accepted_at(place: Any, message: str) -> str:
    return str(place.call("GET", f"/v1/messages/{message}")["accepted_at"])


@pytest.mark.usefixtures("deferring")
def test_what_waits_is_canceled_and_the_corrected_send_under_the_same_tag_passes(place: Any):
    place.lead("fix.test", ONE)
    place.node.send([f"wait-{n}@fix.test" for n in range(5)], ("fix",))
    place.logged("fix", "TransientFailure", 5)
    rule = place.order("swept", tag="fix", accepted_before="now")
    assert place.complete(rule)["intercepted"]["queued"] == 5
    place.node.send([f"right-{n}@fix.test" for n in range(5)], ("fix",))
    statement = place.rests("fix", delivered=5, queued=0)
    assert statement["intercepted"] == {"queued": 5, "attempt": 0, "before_dot": 0, "door": 0}
    assert arrived(place, "fix.test") == [f"right-{n}@fix.test" for n in range(5)]
    assert place.account(rule)["accepted_before"] == rule["accepted_before"]
    place.lift(rule)


@pytest.mark.usefixtures("deferring")
def test_mail_is_selected_before_at_and_after_the_instant_of_its_acceptance(place: Any):
    place.lead("bound.test", ONE)
    ids, times = [], []
    while len(ids) < 3:
        id_ = send(place, "a@bound.test", [f"wait-{len(ids)}@bound.test"], "bound")
        ids.append(id_)
        times.append(accepted_at(place, id_))
        assert len(set(times)) == len(times), "two messages within a millisecond"
    place.logged("bound", "TransientFailure", 3)
    before = place.order("swept", code=551, tag="bound", accepted_before=times[1])
    assert before["accepted_before"] == times[1]
    assert place.complete(before)["intercepted"]["queued"] == 1
    after = place.order("swept", code=552, tag="bound", accepted_after=times[1], accepted_before=times[2])
    assert place.complete(after)["intercepted"]["queued"] == 1
    lines = {line["id"]: line["code"] for line in place.logged("bound", "Intercepted", 2)}
    assert lines == {f"{ids[0]}.1": 551, f"{ids[1]}.1": 552}
    place.rests("bound", queued=1)
    status, bad = place.node.call(
        "POST", "/v1/errors", {"code": 554, "tag": "bound", "accepted_before": times[0], "accepted_after": times[1]}
    )
    assert (status, bad["error"]["field"]) == (400, "accepted_before")
    place.lift(before, after)


@pytest.mark.usefixtures("deferring")
def test_a_sender_and_all_senders_of_a_domain(place: Any):
    place.lead("from.test", ONE)
    for name, sender in (("ann", "Ann@Sender.test"), ("bob", "bob@sender.test"), ("eve", "eve@sub.sender.test")):
        send(place, sender, [f"wait-{name}@from.test"], "from")
    place.logged("from", "TransientFailure", 3)
    one = place.order("swept", sender="ANN@sender.TEST")
    assert one["sender"] == "ann@sender.test"
    assert place.complete(one)["intercepted"]["queued"] == 1
    every = place.order("swept", code=550, sender="*@sender.test")
    assert place.complete(every)["intercepted"]["queued"] == 1
    send(place, "ann@sender.test", ["later-1@from.test"], "from")
    send(place, "bob@sender.test", ["later-2@from.test"], "from")
    send(place, "eve@sub.sender.test", ["later-3@from.test"], "from")
    lines = {line["recipient"]: line["code"] for line in place.logged("from", "Intercepted", 4)}
    found = {"wait-ann": 554, "wait-bob": 550, "later-1": 554, "later-2": 550}
    assert lines == {f"{name}@from.test": code for name, code in found.items()}
    place.rests("from", delivered=1, queued=1)
    assert arrived(place, "from.test") == ["later-3@from.test"]
    place.lift(one, every)


def test_one_recipient_of_a_message_is_stopped_and_the_others_get_it(place: Any):
    place.lead("rcpt.test", ONE)
    rule = place.order(recipient="Bob@RCPT.test")
    assert rule["recipient"] == "bob@rcpt.test"
    send(place, "a@rcpt.test", ["ann@rcpt.test", "bob@rcpt.test", "eve@rcpt.test"], "rcpt")
    statement = place.rests("rcpt", delivered=2, queued=0)
    assert statement["intercepted"]["door"] == 1
    assert arrived(place, "rcpt.test") == ["ann@rcpt.test", "eve@rcpt.test"]
    assert [line["recipient"] for line in place.logged("rcpt", "Intercepted", 1)] == ["bob@rcpt.test"]
    place.lift(rule)


def test_a_transaction_is_stopped_for_one_recipient_and_the_others_get_the_message_once(place: Any):
    place.lead("part.test", ONE)
    sink = place.sinks[ONE]
    held: list[int] = []

    def stall(connection: int, _: str) -> str | None:
        begun = [received for received in list(sink.sink.begun) if received.connection == connection]
        if not held and begun and begun[-1].recipients[0].endswith("@part.test"):
            held.append(connection)
            return HOLD
        return None

    sink.script("DATA", stall)
    try:
        send(place, "a@part.test", ["ann@part.test", "bob@part.test", "eve@part.test"], "part")
        until(lambda: held)
        rule = place.order(recipient="bob@part.test")
        statement = place.rests("part", delivered=2, queued=0)
        assert sum(statement["intercepted"].values()) == statement["intercepted"]["before_dot"] == 1
        assert arrived(place, "part.test") == ["ann@part.test", "eve@part.test"]
        assert rule["past_dot"] == []
        place.lift(rule)
    finally:
        sink.script("DATA", None)
        sink.release("354 go on")


def test_a_recipient_past_the_dot_is_listed_without_the_others_of_its_transaction(place: Any):
    place.lead("dots.test", ONE)
    sink = place.sinks[ONE]
    sink.script(".", lambda _, recipient: HOLD if recipient.endswith("@dots.test") else None)
    try:
        send(place, "a@dots.test", ["ann@dots.test", "bob@dots.test"], "dots")
        until(lambda: sink.to("dots.test"))
        rule = place.order(recipient="bob@dots.test")
        assert [entry["recipient"] for entry in rule["past_dot"]] == ["bob@dots.test"]
        assert sink.release("250 2.0.0 taken") == 1
        place.rests("dots", delivered=2)
        until(lambda: place.call("GET", f"/v1/errors/{rule['id']}")["quiet_at"])
        account = place.complete(rule)
        assert (account["matched"], account["delivered"]["after"]) == (1, 1)
        place.lift(rule)
    finally:
        sink.script(".", None)


@pytest.mark.usefixtures("deferring")
def test_one_rule_for_several_domains(place: Any):
    domains = ["list-a.test", "list-b.test", "sub.list-c.test", "list-d.test"]
    for domain in domains:
        place.lead(domain, ONE)
        place.node.send(f"wait@{domain}", ("list",))
    place.logged("list", "TransientFailure", 4)
    rule = place.order("swept", domain=["LIST-B.test", "list-a.test", "*.list-c.test", "list-a.test"])
    assert rule["domain"] == ["*.list-c.test", "list-a.test", "list-b.test"]
    assert place.complete(rule)["intercepted"]["queued"] == 3
    for domain in domains:
        place.node.send(f"later@{domain}", ("list",))
    place.rests("list", delivered=1, queued=1)
    assert [arrived(place, domain) for domain in domains] == [[], [], [], ["later@list-d.test"]]
    (listed,) = place.call("GET", "/v1/errors?domain=list-b.test")
    assert (listed["id"], listed["domain"]) == (rule["id"], rule["domain"])
    assert place.account(rule)["domain"] == rule["domain"]
    again = place.order(domain=["list-a.test", "list-b.test", "*.list-c.test"], code=550)
    assert again["id"] == rule["id"], "the order of domains makes no other rule"
    typed = place.order(domain=["list-a.test", "lits-b.test"])
    assert "no mail for lits-b.test waits now; check its spelling" in typed["warnings"]
    place.call("DELETE", "/v1/errors?domain=list-b.test&domain=list-a.test&domain=*.list-c.test", want=(200, 202))
    place.lift(typed)
