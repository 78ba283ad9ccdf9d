"""Rules for several tags are swept; rules are disabled, enabled, edited and come to their end, everywhere at once."""

import time
from datetime import datetime
from typing import Any

import pytest

from tests.support.node import until

ONE = "one.hosts.test"


@pytest.mark.usefixtures("deferring")
def test_all_tags_and_no_such_tag_are_swept(house: Any):
    house.lead("tags.test", ONE)
    mail = {"a": ("m-a",), "ab": ("m-a", "m-b"), "abc": ("m-a", "m-b", "m-c"), "bc": ("m-b", "m-c"), "none": ("m-x",)}
    ids = {name: house.node.send(f"wait-{name}@tags.test", (*tags, "m"))[0] for name, tags in mail.items()}
    house.logged("m", "TransientFailure", len(mail))

    def ended() -> set[str]:
        found = [e["id"] for e in house.node.events() if e["type"] == "Intercepted" and "m" in e["tags"]]
        return {name for name, id_ in ids.items() if f"{id_}.1" in found}

    both = house.order("swept", tags_all=["m-b", "m-a"], except_tags=["m-c"])
    assert (both["tags_all"], both["except_tags"]) == (["m-a", "m-b"], ["m-c"])
    assert house.complete(both)["intercepted"]["queued"] == 1
    rest = house.order("swept", tag="m", domain="tags.test", except_tags=["m-a", "m-x"])
    assert house.complete(rest)["intercepted"]["queued"] == 1
    house.logged("m", "Intercepted", 2)
    assert ended() == {"ab", "bc"}
    assert house.rests("m", queued=3)["balanced"]
    assert both["id"] in house.node.statement("m-a")["rules"]

    again = house.order("swept", 200, tags_all=["m-a", "m-b"], except_tags=["m-c"], code=552)
    assert again["id"] == both["id"], "the order of tags makes no other rule"
    wide = house.order("swept", tags_all=["m-a", "m-b"])
    assert wide["id"] != both["id"]
    assert house.complete(wide)["intercepted"]["queued"] == 1
    house.lift(both, rest, wide)
    assert house.rests("m", queued=2)["balanced"]
    status, bad = house.node.call("POST", "/v1/errors", {"code": 554, "except_tags": ["m-a"]})
    assert (status, bad["error"]["field"]) == (400, "everything")


@pytest.mark.usefixtures("deferring")
def test_protected_mail_is_spared_unless_it_is_named(house: Any):
    house.lead("vip.test", ONE)
    house.node.send(["wait-1@vip.test", "wait-2@vip.test"], ("mass",))
    house.node.send("wait-3@vip.test", ("mass", "vip"))
    house.logged("mass", "TransientFailure", 3)
    mass = house.order("swept", tag="mass")
    assert "spared" in mass["warnings"][0]
    assert house.complete(mass)["intercepted"]["queued"] == 2
    house.rests("mass", queued=1)
    named = house.order("swept", tag="vip", domain="vip.test")
    assert "not spared" in named["warnings"][0]
    assert house.complete(named)["intercepted"]["queued"] == 1
    house.rests("mass", queued=0)
    house.lift(mass, named)


@pytest.mark.usefixtures("deferring")
def test_a_rule_is_disabled_enabled_and_edited(house: Any):
    house.lead("edit.test", ONE)
    rule = house.order(tag="edit", enabled=False, description="first")
    house.node.send("pass@edit.test", ("edit",))
    house.node.send(["wait-1@edit.test", "wait-2@edit.test"], ("edit",))
    house.rests("edit", delivered=1, queued=2)
    house.logged("edit", "TransientFailure", 2)
    assert house.complete(rule)["matched"] == 0
    assert rule["id"] not in [known["id"] for known in house.call("GET", "/v1/errors")]

    enabled = house.edit(rule, "swept", enabled=True)
    assert enabled["generation"] > rule["generation"]
    assert house.complete(rule)["intercepted"]["queued"] == 2, "enabling sweeps what waits"
    assert rule["id"] in [known["id"] for known in house.call("GET", "/v1/errors")]

    house.edit(rule, code=552, extended="5.2.3", description="second")
    house.node.send("u@edit.test", ("edit",))
    lines = sorted(house.logged("edit", "Intercepted", 3), key=lambda line: line["time"])  # lanes are logged in turn
    assert [line["text"] for line in lines] == ["first", "first", "second"]
    assert (lines[2]["code"], lines[2]["enhanced"]) == (552, "5.2.3")

    house.edit(rule, code=450, extended=None)
    house.node.send("wait-3@edit.test", ("edit",))
    house.rests("edit", queued=1, deferred_by_rule=1)
    back = house.edit(rule, "swept", code=554)
    assert house.complete(back)["intercepted"]["queued"] == 3, "an edit from deferring to ending sweeps"
    house.edit(rule, enabled=False)
    house.node.send("again@edit.test", ("edit",))
    house.rests("edit", delivered=2, queued=0)
    assert sorted(r.recipients[0] for r in house.got("edit.test")) == ["again@edit.test", "pass@edit.test"]
    account = house.complete(rule)
    assert sum(account["intercepted"].values()) == 4
    states = ["false", None, None, None, None, "false"]

    def told() -> list[str | None]:
        changes = [e for e in house.node.events() if e.get("properties", {}).get("rule") == rule["id"]]
        return [e["properties"].get("enabled") for e in changes]

    until(lambda: told() == states, what=str(told()))
    house.lift(rule)


@pytest.mark.usefixtures("deferring")
def test_a_rule_that_expires_without_traffic_stops_matching(house: Any):
    house.lead("brief.test", ONE)
    house.node.send("wait-1@brief.test", ("brief",))
    house.logged("brief", "TransientFailure", 1)
    # `lasting` is hidden by `brief` while that lasts.
    lasting = house.order(tag="brief", code=450, description="lasting")
    brief = house.order("swept", tag="brief", pool="default", duration="3s")
    end = datetime.fromisoformat(brief["expires_at"]).timestamp()
    house.node.send("u1@brief.test", ("brief",))
    lines = house.logged("brief", "Intercepted", 2)
    assert {line["forced"]["rule"] for line in lines} == {brief["id"]}
    listed = [known["id"] for known in house.call("GET", "/v1/errors?tag=brief")]
    assert (sorted(listed), time.time() < end) == (sorted([lasting["id"], brief["id"]]), True)

    while time.time() < end:  # its end is an instant on the clock, nothing tells of it
        time.sleep(0.05)
    assert [known["id"] for known in house.call("GET", "/v1/errors?tag=brief")] == [lasting["id"]]
    assert [known["id"] for known in house.call("GET", "/v1/errors?tag=brief&enabled=false")] == [brief["id"]]
    house.node.send("u2@brief.test", ("brief",))
    house.rests("brief", queued=1, deferred_by_rule=1)
    house.lift(lasting)
    house.node.send("u3@brief.test", ("brief",))
    house.rests("brief", delivered=1)
    account = house.complete(brief)
    assert (account["matched"], sum(account["intercepted"].values())) == (2, 2)
    assert [r.recipients for r in house.got("brief.test")] == [["u3@brief.test"]]

    house.edit(brief, "swept", expires_at=None)
    assert house.complete(brief)["matched"] == 3, "without its end it matches, and sweeps, again"
    house.rests("brief", queued=0)
    house.lift(brief)
