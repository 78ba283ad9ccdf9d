"""Rules for several tags are swept; rules are disabled, enabled, edited and come to their end, everywhere at once."""

import time
from datetime import datetime
from typing import Any

import pytest

from tests.support.node import until

ONE = "one.hosts.test"


@pytest.mark.usefixtures("deferring")
def test_all_tags_and_no_such_tag_are_swept(place: Any):
    place.lead("tags.test", ONE)
    mail = {"a": ("m-a",), "ab": ("m-a", "m-b"), "abc": ("m-a", "m-b", "m-c"), "bc": ("m-b", "m-c"), "none": ("m-x",)}
    ids = {name: place.node.send(f"wait-{name}@tags.test", (*tags, "m"))[0] for name, tags in mail.items()}
    place.logged("m", "TransientFailure", len(mail))

    def ended() -> set[str]:
        found = [e["id"] for e in place.node.events() if e["type"] == "Intercepted" and "m" in e["tags"]]
        return {name for name, id_ in ids.items() if f"{id_}.1" in found}

    both = place.order("swept", tags_all=["m-b", "m-a"], except_tags=["m-c"])
    assert (both["tags_all"], both["except_tags"]) == (["m-a", "m-b"], ["m-c"])
    assert place.complete(both)["intercepted"]["queued"] == 1
    rest = place.order("swept", tag="m", domain="tags.test", except_tags=["m-a", "m-x"])
    assert place.complete(rest)["intercepted"]["queued"] == 1
    place.logged("m", "Intercepted", 2)
    assert ended() == {"ab", "bc"}
    assert place.rests("m", queued=3)["balanced"]
    assert both["id"] in place.node.statement("m-a")["rules"]

    again = place.order("swept", want=(200,), tags_all=["m-a", "m-b"], except_tags=["m-c"], code=552)
    assert again["id"] == both["id"], "the order of tags makes no other rule"
    wide = place.order("swept", tags_all=["m-a", "m-b"])
    assert wide["id"] != both["id"]
    assert place.complete(wide)["intercepted"]["queued"] == 1
    place.lift(both, rest, wide)
    assert place.rests("m", queued=2)["balanced"]
    status, bad = place.node.call("POST", "/v1/errors", {"code": 554, "except_tags": ["m-a"]})
    assert (status, bad["error"]["field"]) == (400, "everything")


@pytest.mark.usefixtures("deferring")
def test_protected_mail_is_spared_unless_it_is_named(place: Any):
    place.lead("vip.test", ONE)
    place.node.send(["wait-1@vip.test", "wait-2@vip.test"], ("mass",))
    place.node.send("wait-3@vip.test", ("mass", "vip"))
    place.logged("mass", "TransientFailure", 3)
    mass = place.order("swept", tag="mass")
    assert "spared" in mass["warnings"][0]
    assert place.complete(mass)["intercepted"]["queued"] == 2
    place.rests("mass", queued=1)
    named = place.order("swept", tag="vip", domain="vip.test")
    assert "not spared" in named["warnings"][0]
    assert place.complete(named)["intercepted"]["queued"] == 1
    place.rests("mass", queued=0)
    place.lift(mass, named)


@pytest.mark.usefixtures("deferring")
def test_a_rule_is_disabled_enabled_and_edited(place: Any):
    place.lead("edit.test", ONE)
    rule = place.order(tag="edit", enabled=False, description="first")
    place.node.send("pass@edit.test", ("edit",))
    place.node.send(["wait-1@edit.test", "wait-2@edit.test"], ("edit",))
    place.rests("edit", delivered=1, queued=2)
    place.logged("edit", "TransientFailure", 2)
    assert place.complete(rule)["matched"] == 0
    assert rule["id"] not in [known["id"] for known in place.call("GET", "/v1/errors")]

    enabled = place.edit(rule, "swept", enabled=True)
    assert enabled["generation"] > rule["generation"]
    assert place.complete(rule)["intercepted"]["queued"] == 2, "enabling sweeps what waits"
    assert rule["id"] in [known["id"] for known in place.call("GET", "/v1/errors")]

    place.edit(rule, code=552, extended="5.2.3", description="second")
    place.node.send("u@edit.test", ("edit",))
    lines = sorted(place.logged("edit", "Intercepted", 3), key=lambda line: line["time"])  # lanes are logged in turn
    assert [line["text"] for line in lines] == ["first", "first", "second"]
    assert (lines[2]["code"], lines[2]["enhanced"]) == (552, "5.2.3")

    place.edit(rule, code=450, extended=None)
    place.node.send("wait-3@edit.test", ("edit",))
    place.rests("edit", queued=1, deferred_by_rule=1)
    back = place.edit(rule, "swept", code=554)
    assert place.complete(back)["intercepted"]["queued"] == 3, "an edit from deferring to ending sweeps"
    place.edit(rule, enabled=False)
    place.node.send("again@edit.test", ("edit",))
    place.rests("edit", delivered=2, queued=0)
    assert sorted(r.recipients[0] for r in place.taken("edit.test")) == ["again@edit.test", "pass@edit.test"]
    account = place.complete(rule)
    assert sum(account["intercepted"].values()) == 4
    states = ["false", None, None, None, None, "false"]

    def told() -> list[str | None]:
        told = [e for e in place.node.events() if e.get("properties", {}).get("rule") == rule["id"]]
        changes = [e for e in told if e["reason"] not in ("effective", "completed")]
        return [e["properties"].get("enabled") for e in changes]

    until(lambda: told() == states, what=str(told()))
    place.lift(rule)


@pytest.mark.usefixtures("deferring")
def test_a_rule_that_expires_without_traffic_stops_matching(place: Any):
    place.lead("brief.test", ONE)
    place.node.send("wait-1@brief.test", ("brief",))
    place.logged("brief", "TransientFailure", 1)
    # `lasting` is hidden by `brief` while that lasts.
    lasting = place.order(tag="brief", code=450, description="lasting")
    brief = place.order("swept", tag="brief", pool="default")
    place.node.send("u1@brief.test", ("brief",))
    lines = place.logged("brief", "Intercepted", 2)
    assert {line["forced"]["rule"] for line in lines} == {brief["id"]}
    listed = [known["id"] for known in place.call("GET", "/v1/errors?tag=brief")]
    assert sorted(listed) == sorted([lasting["id"], brief["id"]])

    end = datetime.fromisoformat(place.edit(brief, duration="1s")["expires_at"]).timestamp()
    until(lambda: [known["id"] for known in place.call("GET", "/v1/errors?tag=brief")] == [lasting["id"]])
    assert time.time() >= end - 0.05, "its end is an instant on the clock"
    assert [known["id"] for known in place.call("GET", "/v1/errors?tag=brief&enabled=false")] == [brief["id"]]
    place.node.send("u2@brief.test", ("brief",))
    place.rests("brief", queued=1, deferred_by_rule=1)
    place.lift(lasting)
    place.node.send("u3@brief.test", ("brief",))
    place.rests("brief", delivered=1)
    account = place.complete(brief)
    assert (account["matched"], sum(account["intercepted"].values())) == (2, 2)
    assert [r.recipients for r in place.taken("brief.test")] == [["u3@brief.test"]]

    place.edit(brief, "swept", expires_at=None)
    assert place.complete(brief)["matched"] == 3, "without its end it matches, and sweeps, again"
    place.rests("brief", queued=0)
    place.lift(brief)
