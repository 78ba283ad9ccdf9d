"""The values that a forced error may have, field by field (S: A8, A10)."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_api.rules.body import read_conversion, read_edit, read_rule
from mta.content.injection_headers import read_injection
from mta.model.errors import BadValue
from mta.model.rules import AtTheDoor, Kind, Rule, Selectors

NOW = 1_700_000_000_000  # Unix ms


def rule(**fields: Any) -> Any:
    return read_rule({"code": 554, "tag": "t"} | fields, "n1", NOW)


def test_selectors_are_brought_to_one_form() -> None:
    assert rule(pool="p1", domain="*.BÜCHER.example").selectors == Selectors(
        pool="p1", domain="*.xn--bcher-kva.example", tag="t"
    )
    assert rule(mta="2001:DB8::0:1").selectors.mta == "2001:db8::1"
    assert rule(pool="@2001:DB8::0:1").selectors.pool == "@2001:db8::1"
    assert rule(domain="Example.COM.").selectors.domain == "example.com"


def test_i8_tags_are_brought_to_the_form_in_which_mail_has_them() -> None:
    apart, composed = "e\u0301", "\u00e9"
    made = rule(tag=apart, tenant=apart, tags_all=[apart, composed], except_tags=[apart + "x"])
    assert made.selectors == Selectors(
        tag=composed, tenant=composed, tags_all=(composed,), except_tags=(composed + "x",)
    )
    assert rule(tag=apart * 64).selectors.tag == composed * 64
    for long in (apart * 65, "e" + "\u0301\u0327" * 500_000):
        with pytest.raises(BadValue, match="1 to 128 bytes"):
            rule(tag=long)


@pytest.mark.parametrize("text", ["2033-01-01T00:00:00", "2033-01-01", "2033-01-01 00:00:00.5"])
def test_i4_an_end_without_its_zone_is_refused(text: str) -> None:
    with pytest.raises(BadValue, match="RFC 3339 with its zone"):
        rule(expires_at=text)


def test_a_star_as_a_whole_value_is_absent() -> None:
    assert rule(pool="*", mta="*", domain="*").selectors == Selectors(tag="t")


def test_selectors_of_the_message_are_brought_to_one_form() -> None:
    made = rule(sender=" Ann@BÜCHER.example ", recipient="Bob.Doe@Example.COM.").selectors
    assert (made.sender, made.recipient) == ("ann@xn--bcher-kva.example", "bob.doe@example.com")
    assert rule(sender="*@Example.COM").selectors.sender == "*@example.com"
    assert rule(sender="*", recipient="*", accepted_before="*").selectors == Selectors(tag="t")
    made = rule(accepted_before="now", accepted_after="2020-01-01T01:00:00+01:00").selectors
    assert (made.accepted_before, made.accepted_after) == (NOW, 1_577_836_800_000)
    assert rule(accepted_before="+30m").selectors.accepted_before == NOW + 30 * 60_000


def test_several_domains_are_one_selector_in_one_form() -> None:
    made = rule(domain=["B.example", "*.a.example", "b.example"]).selectors
    assert made == Selectors(tag="t", domains=("*.a.example", "b.example"))
    assert made.names == ("*.a.example", "b.example")
    assert rule(domain=["a.example"]).selectors == rule(domain="a.example").selectors
    assert rule(domain=["*"]).selectors == Selectors(tag="t")
    assert rule(domain=["a.example", "b.example"], recipient="x@b.example").selectors.recipient == "x@b.example"


@pytest.mark.parametrize(
    ("field", "values", "words"),
    [
        ("sender", {"sender": "ann"}, "is not an address; write local-part@domain, or \\*@domain"),
        ("sender", {"sender": "*@*.example.com"}, "is not a domain"),
        ("sender", {"sender": ""}, "leave the field out"),
        ("recipient", {"recipient": "*@example.com"}, "give it as domain"),
        ("recipient", {"recipient": "a b@example.com"}, "is not an address"),
        ("recipient", {"recipient": "a@b.example", "domain": "c.example"}, "is not of the given domain"),
        ("accepted_before", {"accepted_before": "yesterday"}, "is not a time"),
        ("accepted_before", {"accepted_before": 5}, "leave the field out"),
        ("accepted_before", {"accepted_before": "now", "accepted_after": "now"}, "matches nothing"),
        ("domain", {"domain": []}, "is no domain and no list of 1 to 250"),
        ("domain", {"domain": [f"d{n}.example" for n in range(251)]}, "is no domain and no list of 1 to 250"),
        ("domain", {"domain": ["a.example", 5]}, "is not a text"),
        ("ip", {"domain": ["a.example", "b.example"], "ip": "192.0.2.1"}, "cannot be combined with domain"),
    ],
)
def test_a_selector_that_cannot_match_is_refused(field: str, values: dict[str, Any], words: str) -> None:
    with pytest.raises(BadValue, match=words) as refused:
        rule(**values)
    assert refused.value.field == field


def test_the_time_of_acceptance_alone_is_everything() -> None:
    with pytest.raises(BadValue, match="no selector but accepted_before is given") as refused:
        read_rule({"code": 554, "accepted_before": "now"}, "n1", NOW)
    assert refused.value.field == "everything"
    made = read_rule({"code": 554, "accepted_before": "now", "everything": True}, "n1", NOW)
    assert made.selectors == Selectors(accepted_before=NOW)


def pause(**fields: Any) -> Rule:
    return read_rule({"tag": "t"} | fields, "n1", NOW, Kind.PAUSE)


def test_a_pause_has_a_schedule_in_a_time_zone() -> None:
    made = pause(schedule="mo-fr 22:00-8:00", timezone="Europe/Berlin").selectors
    assert made == Selectors(tag="t", schedule="Mo-Fr 22:00-08:00", timezone="Europe/Berlin")
    assert pause(schedule="22:00-08:00").selectors.timezone == "UTC"
    converted = read_conversion({"code": 554}, NOW)(pause(schedule="22:00-08:00"))
    assert converted.selectors == Selectors(tag="t")


@pytest.mark.parametrize(
    ("field", "values", "words"),
    [
        ("schedule", {"schedule": "nights"}, "is no schedule; write days and times"),
        ("schedule", {"schedule": 5}, "is not a text"),
        ("timezone", {"schedule": "22:00-08:00", "timezone": "Berlin"}, "is no IANA time zone"),
        ("timezone", {"timezone": "UTC"}, "is given without schedule"),
        ("in_flight", {"schedule": "22:00-08:00", "in_flight": "finish"}, "cannot be finish with a schedule"),
        ("everything", {"tag": None, "schedule": "22:00-08:00"}, "no selector but schedule is given"),
    ],
)
def test_a_schedule_that_cannot_be_is_refused(field: str, values: dict[str, Any], words: str) -> None:
    with pytest.raises(BadValue, match=words) as refused:
        pause(**values)
    assert refused.value.field == field


def test_a_schedule_belongs_to_a_pause_and_stays() -> None:
    with pytest.raises(BadValue, match="schedule: is not a field of a forced error"):
        rule(schedule="22:00-08:00")
    with pytest.raises(BadValue, match="identifies the rule and cannot be edited; make another pause"):
        read_edit({"schedule": "22:00-08:00"}, NOW, Kind.PAUSE)
    with pytest.raises(BadValue, match="cannot be finish with a schedule"):
        read_edit({"in_flight": "finish"}, NOW, Kind.PAUSE)(pause(schedule="22:00-08:00"))


def test_cluster_false_binds_to_the_node() -> None:
    assert rule(cluster=False).selectors == Selectors(tag="t", cluster=False, node="n1")
    assert rule(cluster="0").selectors.node == "n1"
    assert rule(cluster="true").selectors.node is None


def test_everything_stands_for_no_selector() -> None:
    assert read_rule({"code": 450, "everything": True}, "n1", NOW).selectors == Selectors()


def test_peers_are_brought_to_one_form() -> None:
    assert rule(ip="2001:DB8::0:1").selectors == Selectors(tag="t", ip="2001:db8::1")
    assert rule(mx="*.MX.Example.").selectors == Selectors(tag="t", mx="*.mx.example")


def test_the_order_of_tags_makes_no_other_rule() -> None:
    assert rule(tags_all=["b", "a", "b"], except_tags="c").selectors == Selectors(
        tag="t", tags_all=("a", "b"), except_tags=("c",)
    )
    assert rule(tags_all="*").selectors == Selectors(tag="t")


def test_except_tags_alone_need_everything() -> None:
    with pytest.raises(BadValue, match="no selector but except_tags is given"):
        read_rule({"code": 450, "except_tags": ["a"]}, "n1", NOW)
    whole = read_rule({"code": 450, "except_tags": ["a"], "everything": True}, "n1", NOW)
    assert whole.selectors == Selectors(except_tags=("a",))
    assert read_rule({"code": 450, "tags_all": ["a"]}, "n1", NOW).selectors == Selectors(tags_all=("a",))


def test_a_rule_is_enabled_and_without_end_unless_it_says_otherwise() -> None:
    assert (rule().enabled, rule().expires_at) == (True, 0)
    assert rule(enabled="false").enabled is False
    assert rule(duration="90s").expires_at == NOW + 90_000
    assert rule(duration=1.5).expires_at == NOW + 1500
    assert rule(expires_at="+10m").expires_at == NOW + 600_000
    assert rule(expires_at="2023-11-14T22:13:21Z").expires_at == NOW + 1000


OLD = Rule("r", Selectors(tag="t"), 554, "5.7.1", "text", 5, "me", "why", 7, expires_at=NOW + 5)


@pytest.mark.parametrize(
    ("fields", "changed"),
    [
        ({"enabled": False}, {"enabled": False}),
        ({"code": 550}, {"code": 550}),
        ({"code": 450, "extended": None}, {"code": 450, "extended": ""}),
        ({"code": 450, "extended": "4.7.1"}, {"code": 450, "extended": "4.7.1"}),
        ({"extended": "5.1.1"}, {"extended": "5.1.1"}),
        ({"description": None, "reason": "x"}, {"description": "", "reason": "x"}),
        ({"expires_at": None}, {"expires_at": 0}),
        ({"duration": "1s"}, {"expires_at": NOW + 1000}),
    ],
)
def test_an_edit_changes_what_it_names_and_nothing_else(fields: dict[str, Any], changed: dict[str, Any]) -> None:
    assert read_edit(fields, NOW)(OLD) == msgspec.structs.replace(OLD, **changed)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({}, "body"),
        *(({name: "x"}, name) for name in ("tag", "pool", "tags_all", "cluster", "everything", "id", "generation")),
        ({"code": None}, "code"),
        ({"enabled": None}, "enabled"),
        ({"code": 450}, "extended"),
        ({"extended": "4.7.1"}, "extended"),
        ({"extended": "x"}, "extended"),
        ({"description": "a\nb"}, "description"),
        ({"expires_at": "2023-11-14T22:13:20Z"}, "expires_at"),
        ({"expires_at": "+1s", "duration": "1s"}, "duration"),
    ],
)
def test_a_bad_edit_is_named(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(BadValue) as bad:
        read_edit(fields, NOW)(OLD)
    assert bad.value.field == field


@pytest.mark.parametrize("code", [200, 250, 299, 400, 451, 599, "554"])
def test_codes_come_as_numbers_or_strings(code: int | str) -> None:
    assert rule(code=code).code == int(code)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"code": None}, "code"),
        *(({"code": code}, "code") for code in (0, 199, 300, 354, 399, 600, True, 554.5, "5x4", "٥٥٤", " 554", [554])),
        *(({"extended": value}, "extended") for value in ("4.7.1", "5.7", "5.7.1.1", "5.07.1", "5.7.1000", 5, "")),
        *(({"description": value}, "description") for value in (5, "é" * 201, "x" * 401)),
        ({"pool": "p", "mta": "192.0.2.1"}, "mta"),
        ({"pool": ""}, "pool"),
        ({"pool": "-x"}, "pool"),
        ({"pool": "a" * 64}, "pool"),
        ({"pool": "@x"}, "pool"),
        ({"mta": "example.com"}, "mta"),
        ({"mta": "fe80::1%eth0"}, "mta"),
        ({"domain": "a b"}, "domain"),
        ({"domain": "a..b"}, "domain"),
        ({"domain": "x*.example.com"}, "domain"),
        ({"domain": "*."}, "domain"),
        ({"domain": "*.*.com"}, "domain"),
        ({"tag": ""}, "tag"),
        ({"tag": "é" * 65}, "tag"),
        ({"tag": "a\nb"}, "tag"),
        ({"tag": "\ud800"}, "tag"),
        ({"tag": 5}, "tag"),
        ({"tag": "*"}, "everything"),
        ({"everything": True}, "everything"),
        ({"cluster": "maybe"}, "cluster"),
        ({"domain": "a.example", "ip": "192.0.2.1"}, "ip"),
        ({"domain": "a.example", "mx": "a.example"}, "mx"),
        ({"ip": "192.0.2.1", "mx": "a.example"}, "mx"),
        ({"ip": "192.0.2.0/24"}, "ip"),
        ({"mx": "[192.0.2.1]"}, "mx"),
        ({"mx": "a*.example"}, "mx"),
        *(({"tags_all": value}, "tags_all") for value in ([], "", [""], [5], {"a": 1}, ["a\n"], ["a"] * 101)),
        ({"except_tags": []}, "except_tags"),
        ({"except_tags": ["t"]}, "except_tags"),
        ({"tags_all": ["a"], "except_tags": ["a"]}, "except_tags"),
        ({"enabled": "perhaps"}, "enabled"),
        *(({"duration": value}, "duration") for value in ("soon", 0, "0s", True, "4000d", [1])),
        *(({"expires_at": value}, "expires_at") for value in ("2023-11-14T22:13:20Z", "tomorrow", 5)),
        ({"expires_at": "+1s", "duration": "1s"}, "duration"),
        ({"cluster": 1}, "cluster"),
    ],
)
def test_a_bad_value_is_named(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(BadValue) as bad:
        rule(**fields)
    assert bad.value.field == field


@pytest.mark.parametrize(
    "name",
    ["max_matches", "preview_token", "id", "node", "generation", "created_by", "Code"],
)
def test_a8_fields_that_this_release_has_not_are_refused(name: str) -> None:
    with pytest.raises(BadValue) as bad:
        rule(**{name: "x"})
    assert bad.value.field == name


@pytest.mark.parametrize(
    "text",
    [
        "x\r\n250 OK",
        "x\n.\nMAIL FROM:<a@b>",
        "x\x00",
        "\x1b[2J",
        "\x7f",
        "\x85",
        "a\u2028b",
        "a\u2029b",
        "\u202eabc",
        "\u2066abc",
        "\u200fabc",
        "\ud800",
    ],
)
@pytest.mark.parametrize("field", ["description", "reason"])
def test_a10_no_text_can_break_a_reply(field: str, text: str) -> None:
    with pytest.raises(BadValue) as bad:
        rule(**{field: text})
    assert bad.value.field == field


@given(st.dictionaries(st.sampled_from(["code", "extended", "domain", "pool", "mta", "tag", "reason"]), st.text()))
def test_any_text_is_taken_or_refused_by_name(fields: dict[str, str]) -> None:
    try:
        found = read_rule(fields, "n1", NOW)
    except BadValue as bad:
        named = bad.field
    else:
        named = "code"
        assert found.description.isprintable()
        assert found.reason.isprintable()
    assert named in {*fields, "code", "everything"}


def test_a_tenant_is_a_selector_of_128_bytes_without_control_characters() -> None:
    assert read_rule({"code": 554, "tenant": "shop"}, "n1", NOW).selectors == Selectors(tenant="shop")
    assert rule(tenant="*").selectors.tenant is None
    for bad in ("", "a\0b", "x" * 129, 7):
        with pytest.raises(BadValue) as error:
            rule(tenant=bad)
        assert error.value.field == "tenant"


def test_nothing_is_refused_with_success() -> None:
    assert rule(at_the_door="reject", code=450).at_the_door is AtTheDoor.REJECT
    for code in (200, 250, "299"):
        with pytest.raises(BadValue, match="nothing is refused with success"):
            rule(at_the_door="reject", code=code)


@pytest.mark.parametrize("fields", [{"at_the_door": "ask"}, {"in_flight": 1}, {"undo": "maybe"}])
def test_a_choice_that_there_is_not_is_named(fields: dict[str, Any]) -> None:
    with pytest.raises(BadValue) as bad:
        rule(**fields)
    assert bad.value.field == next(iter(fields))


def test_a_pause_has_an_end_by_either_name() -> None:
    one = read_rule({"tag": "t", "expires_at": "+1h"}, "n1", NOW, Kind.PAUSE)
    other = read_rule({"tag": "t", "expire": "+1h"}, "n1", NOW, Kind.PAUSE)
    assert one == other
    assert one.expires_at == NOW + 3_600_000
    for bad in ({"expire": "+1h", "duration": "1h"}, {"expire": "then"}, {"expire": "2001-01-01T00:00:00Z"}):
        with pytest.raises(BadValue):
            read_rule({"tag": "t"} | bad, "n1", NOW, Kind.PAUSE)
    with pytest.raises(BadValue, match="not a field of a forced error"):
        rule(expire="+1h")


@given(st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=20))
def test_o2_a_tag_is_read_as_its_header_is(text: str) -> None:
    """A rule looks for the form of a tag that intake made."""
    try:
        (tag,) = read_injection(f"X-MQ-Tag: {text}\r\n".encode(), ("x-mq-",), frozenset(), NOW).tags
    except BadValue:
        return
    if "=?" not in text and tag != "*":  # no encoded word
        assert (rule(tag=tag).selectors.tag, rule(tag=text).selectors.tag) == (tag, tag)
