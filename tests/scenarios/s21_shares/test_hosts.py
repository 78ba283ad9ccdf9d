"""A host that fails ends no mail, and the next host gets what this one does not take (D5, D7, D12, D13, D15)."""

import asyncio
import threading
from collections import Counter

import pytest

from tests.scenarios.s21_shares.conftest import Hosts
from tests.support.node import until
from tests.support.sink import DROP, HOLD

REFUSALS = {
    "554": {"GREETING": "554 5.7.1 no"},
    "521": {"GREETING": "220-here\r\n521 5.3.2 no mail"},
    "ehlo": {"EHLO": "550 5.7.1 not you", "HELO": "550 5.7.1 not you"},
}


@pytest.mark.parametrize("kind", [*REFUSALS, "refused", "dns"])
def test_d7_a_host_that_refuses_everybody_ends_no_mail(hosts: Hosts, kind: str) -> None:
    domain = f"{kind}.d7.test"
    hosts.mx(domain, "nobody" if kind == "refused" else "third")
    if kind == "dns":
        hosts.dns.stub.fail("third.hosts.test")
        hosts.dns.stub.rcodes[domain] = "SERVFAIL"
    for verb, answer in REFUSALS.get(kind, {}).items():
        hosts.sinks["third"].script(verb, answer)
    hosts.node.send([f"m{n}@{domain}" for n in range(60)])
    found = until(lambda: len(found := hosts.lines(domain)) >= 60 and found)
    hosts.dns.stub.rcodes.clear()
    # An attempt is one for which a connection was tried.
    assert {(kind, attempt) for kind, _, attempt in found} <= {("TransientFailure", 1), ("TransientFailure", 0)}
    assert any(attempt == 1 for _, _, attempt in found)
    assert not hosts.got(domain)


@pytest.mark.parametrize("answer", ["451 4.3.0 later", "421 4.3.2 closing", DROP])
@pytest.mark.parametrize("verb", ["MAIL", "RCPT", "DATA"])
def test_d5_the_next_host_gets_what_the_first_does_not_take_now(hosts: Hosts, verb: str, answer: str) -> None:
    domain = f"{verb.lower()}-{answer[:3]}.d5.test"
    hosts.mx(domain, "first", "second")
    hosts.sinks["first"].script(verb, answer)
    hosts.node.send([f"m{n}@{domain}" for n in range(5)])
    until(lambda: len(hosts.lines(domain)) >= 5)
    assert hosts.lines(domain) == [("Delivery", "second.hosts.test", 1)] * 5
    assert hosts.got(domain) == {"second": [f"m{n}@{domain}" for n in range(5)]}


def test_d5_only_the_recipients_that_were_refused_go_on(hosts: Hosts) -> None:
    hosts.mx("some.d5.test", "first", "second", "third")
    for name in ("first", "second"):
        hosts.sinks[name].sink.recipients["b@some.d5.test"] = "450 later"
        hosts.sinks[name].sink.recipients["d@some.d5.test"] = "550 5.1.1 unknown"
    with hosts.node.sender() as client:
        client.sendmail("from@example.org", [f"{name}@some.d5.test" for name in "abcd"], "Subject: x\r\n\r\nhello\r\n")
    until(lambda: len(hosts.lines("some.d5.test")) >= 4)
    assert hosts.got("some.d5.test") == {
        "first": ["a@some.d5.test", "c@some.d5.test"],
        "third": ["b@some.d5.test"],
    }
    assert Counter(hosts.lines("some.d5.test")) == {
        ("Delivery", "first.hosts.test", 1): 2,
        ("Bounce", "first.hosts.test", 1): 1,
        ("Delivery", "third.hosts.test", 1): 1,
    }


def test_d5_where_no_host_takes_it_the_last_word_counts(hosts: Hosts) -> None:
    hosts.mx("none.d5.test", "first", "second")
    hosts.mx("gone.d5.test", "first", "nobody")
    hosts.sinks["first"].script("MAIL", "451 4.3.0 later")
    hosts.sinks["second"].script("MAIL", "452 4.3.1 full")
    hosts.node.send(["a@none.d5.test", "a@gone.d5.test"])
    until(lambda: hosts.lines("none.d5.test") and hosts.lines("gone.d5.test"))
    assert hosts.lines("none.d5.test") == [("TransientFailure", "second.hosts.test", 1)]
    assert hosts.lines("gone.d5.test") == [("TransientFailure", "first.hosts.test", 1)]


@pytest.mark.parametrize("answer", [DROP, "451 4.3.0 later"])
def test_d5_after_the_dot_there_is_no_second_host(hosts: Hosts, answer: str) -> None:
    domain = f"dot-{answer[:3]}.d5.test"
    hosts.mx(domain, "first", "second")
    hosts.sinks["first"].script(".", answer)
    hosts.node.send(f"a@{domain}")
    until(lambda: hosts.lines(domain))
    assert hosts.lines(domain) == [("TransientFailure", "first.hosts.test", 1)]
    assert not hosts.got(domain)


def test_d13_one_malformed_dns_answer_defers_no_other_mail(hosts: Hosts) -> None:
    stub, good = hosts.dns.stub, [f"n{n}.d13.test" for n in range(20)]
    for domain in good:
        hosts.mx(domain, "first")
    stub.garbage.add("bad.d13.test")
    stub.delay = 0.2
    try:
        hosts.node.send([f"a@{domain}" for domain in [*good[:10], "bad.d13.test", *good[10:]]])
        until(lambda: all(hosts.lines(domain) for domain in [*good, "bad.d13.test"]))
    finally:
        stub.delay = 0.0
    assert hosts.lines("bad.d13.test") == [("TransientFailure", "", 1)]
    assert {line for domain in good for line in hosts.lines(domain)} == {("Delivery", "first.hosts.test", 1)}


def test_d12_each_record_names_its_own_host(hosts: Hosts) -> None:
    for name in ("a", "b"):
        hosts.dns.stub.mx(f"{name}.d12.test", (10, f"{name}.names.test"))
        hosts.dns.stub.a(f"{name}.names.test", "127.0.0.7")
        hosts.node.send(f"m@{name}.d12.test")
        until(lambda name=name: hosts.lines(f"{name}.d12.test"))
    for name in ("a", "b"):
        [(kind, host, _)] = hosts.lines(f"{name}.d12.test")
        assert (kind, host) == ("TransientFailure", f"{name}.names.test")


def closes_after_250(hosts: Hosts) -> None:
    sink = hosts.sinks["first"].sink

    def answer(connection: int, _: str) -> None:
        for session in sink._sessions:
            if session._number == connection:
                asyncio.get_running_loop().call_soon(session._transport.close)

    hosts.sinks["first"].script(".", answer)


def takes_one_message(hosts: Hosts, verb: str, refusal: str) -> None:
    seen: set[int] = set()

    def answer(connection: int, _: str) -> str | None:
        if connection in seen:
            return refusal
        seen.add(connection)
        return None

    hosts.sinks["first"].script(verb, answer)


@pytest.mark.parametrize(
    ("verb", "answer"),
    [
        (".", "close"),
        ("MAIL", "451 4.7.0 one message a session"),
        ("MAIL", "421 4.7.0 one message a session"),
        ("MAIL", "503 5.5.1 nested MAIL"),
        ("MAIL", "550 5.7.0 one message a session"),
        ("RCPT", "452 4.5.3 one message a session"),
        ("RCPT", "421 4.7.0 one message a session"),
        ("RCPT", DROP),
        ("DATA", DROP),
    ],
)
def test_d15_a_session_that_takes_one_message_costs_no_attempt(hosts: Hosts, verb: str, answer: str) -> None:
    domain = f"n{answer[:3]}-{verb.lower().replace('.', 'end')}.d15.test"
    hosts.mx(domain, "first")
    if answer == "close":
        closes_after_250(hosts)
    else:
        takes_one_message(hosts, verb, answer)
    wanted = [[f"m{c}-{n}@{domain}" for n in range(40)] for c in range(4)]
    clients = [threading.Thread(target=hosts.node.send, args=(some,)) for some in wanted]
    for client in clients:
        client.start()
    for client in clients:
        client.join(90)
    until(lambda: len(hosts.lines(domain)) >= 160)
    assert Counter(hosts.lines(domain)) == {("Delivery", "first.hosts.test", 1): 160}
    assert hosts.got(domain)["first"] == sorted(address for some in wanted for address in some)


@pytest.mark.parametrize("verb", ["MAIL", "RCPT"])
def test_d15_a_lone_dot_without_a_reply_keeps_nothing_waiting(hosts: Hosts, verb: str) -> None:
    domain = f"lone-{verb.lower()}.d15.test"
    hosts.mx(domain, "first", "second")
    hosts.sinks["first"].script(verb, "451 4.3.0 later")
    hosts.sinks["first"].script("DATA", "354 go on")
    hosts.sinks["first"].script(".", HOLD)
    hosts.node.send(f"m@{domain}")
    until(lambda: hosts.lines(domain))
    assert hosts.lines(domain) == [("Delivery", "second.hosts.test", 1)]


def test_d15_a_first_mail_that_is_refused_counts(hosts: Hosts) -> None:
    hosts.mx("never.d15.test", "first")
    hosts.sinks["first"].script("MAIL", "451 4.3.0 later")
    hosts.node.send([f"m{n}@never.d15.test" for n in range(5)])
    until(lambda: len(hosts.lines("never.d15.test")) >= 5)
    assert hosts.lines("never.d15.test") == [("TransientFailure", "first.hosts.test", 1)] * 5


def test_k1_a_cancel_frees_the_attempt_at_the_next_host(hosts: Hosts) -> None:
    hosts.mx("cancel.d5.test", "first", "third")
    hosts.sinks["first"].script("MAIL", "451 4.3.0 later")
    hosts.sinks["third"].script("GREETING", HOLD)
    (identity,) = hosts.node.send("a@cancel.d5.test")
    until(lambda: any(session.held for session in list(hosts.sinks["third"].sink._sessions)))
    status, _ = hosts.node.call("POST", f"/v1/messages/{identity}/cancel")
    assert status == 200
    until(lambda: not hosts.sinks["third"].sink.open)
    until(lambda: hosts.lines("cancel.d5.test"))
    assert [kind for kind, _, _ in hosts.lines("cancel.d5.test")] == ["Cancellation"]
