"""Rules for a peer's address, its name, and our own address act when a delivery is attempted, and only there."""

from typing import Any

from tests.support.node import until
from tests.support.sink import HOLD

ONE, TWO = "one.hosts.test", "two.deep.hosts.test"


def test_a_remote_address_ends_what_would_go_there_and_nothing_else(place: Any):
    place.lead("ip-a.test", ONE)
    place.lead("ip-b.test", TWO)
    rule = place.order(ip="127.0.0.8", tag="ip", code=550, extended="5.7.1", reason="that peer")
    assert rule["ip"] == "127.0.0.8"
    ids = place.node.send([f"u{n}@ip-a.test" for n in range(3)], ("ip",))
    place.node.send([f"u{n}@ip-b.test" for n in range(3)], ("ip",))
    place.node.send("free@ip-a.test", ("other-ip",))
    statement = place.rests("ip", queued=0)
    assert statement["intercepted"] == {"queued": 0, "attempt": 3, "before_dot": 0, "door": 0}
    assert statement["delivered"] == 3
    place.rests("other-ip", delivered=1)
    assert [r.recipients for r in place.taken("ip-a.test")] == [["free@ip-a.test"]]
    assert len(place.taken("ip-b.test")) == 3
    assert not [r for r in place.sinks[ONE].begun_to("ip-a.test") if r.recipients != ["free@ip-a.test"]]
    lines = place.logged("ip", "Intercepted", 3)
    assert {line["id"] for line in lines} == {f"{id_}.1" for id_ in ids}
    for line in lines:
        assert (line["code"], line["remote_ip"], line["mx"]) == (550, "127.0.0.8", ONE)
        assert (line["forced"]["rule"], line["forced"]["stage"]) == (rule["id"], "attempt")
    account = place.complete(rule)
    assert (account["matched"], account["intercepted"]["attempt"]) == (3, 3)
    assert "sweep" not in account
    place.lift(rule)


def test_a_host_pattern_matches_hosts_below_it(place: Any):
    for domain, host in (("mx-a.test", ONE), ("mx-b.test", TWO)):
        place.lead(domain, host)
    below = place.order(mx="*.Deep.hosts.test", tag="mx")
    exact = place.order(mx=ONE, tag="mx-exact", code=451)
    place.node.send(["u@mx-a.test", "u@mx-b.test"], ("mx",))
    place.node.send(["u@mx-a.test", "u@mx-b.test"], ("mx-exact",))
    statement = place.rests("mx", queued=0, delivered=1)
    assert statement["intercepted"]["attempt"] == 1
    assert [line["mx"] for line in place.logged("mx", "Intercepted", 1)] == [TWO]
    place.rests("mx-exact", delivered=1, queued=1, deferred_by_rule=1)
    (line,) = place.logged("mx-exact", "TransientFailure", 1)
    assert (line["code"], line["mx"], line["forced"]["rule"]) == (451, ONE, exact["id"])
    assert sorted(r.recipients[0] for r in place.taken("mx-a.test") + place.taken("mx-b.test")) == [
        "u@mx-a.test",
        "u@mx-b.test",
    ]
    assert place.complete(below)["matched"] == 1
    place.lift(below, exact)


def test_a_sending_and_a_remote_address_must_both_be_so(place: Any):
    for n in range(16):
        place.lead(f"d{n}.both.test", ONE)
    rule = place.order(mta="127.0.0.3", ip="127.0.0.8", tag="both")
    ids = place.node.send([f"u@d{n}.both.test" for n in range(16)], ("both",), X_MQ_Pool="pair")
    statement = place.rests("both", queued=0)
    taken = [r for n in range(16) for r in place.taken(f"d{n}.both.test")]
    assert {r.peer for r in taken} == {"127.0.0.4"}
    ended = statement["intercepted"]["attempt"]
    assert (ended + len(taken), statement["delivered"]) == (len(ids), len(taken))
    assert ended > 0
    assert {(line["mta"], line["remote_ip"]) for line in place.logged("both", "Intercepted", ended)} == {
        ("127.0.0.3", "127.0.0.8")
    }
    assert place.complete(rule)["matched"] == ended
    place.lift(rule)


def test_what_is_under_way_to_the_peer_is_aborted_before_its_dot(place: Any):
    place.lead("fly-a.test", ONE)
    place.lead("fly-b.test", TWO)
    held: list[int] = []
    for sink in place.sinks.values():
        sink.script("DATA", lambda connection, _: held.append(connection) or HOLD)
    place.node.send(["u@fly-a.test", "u@fly-b.test"], ("fly",))
    until(lambda: len(held) == 2)
    rule = place.order(mx=ONE, tag="fly")
    assert rule["past_dot"] == []
    for sink in place.sinks.values():
        sink.script("DATA", None)
        sink.release("354 go on")
    statement = place.rests("fly", queued=0)
    assert (statement["intercepted"]["before_dot"], statement["delivered"]) == (1, 1)
    assert [r.recipients for r in place.taken("fly-b.test")] == [["u@fly-b.test"]]
    assert place.taken("fly-a.test") == []
    place.complete(rule)
    place.lift(rule)
