"""What a forced error may say, value by value (S: A8, A10)."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_api.rule_body import read_rule
from mta.model.errors import BadValue
from mta.model.rules import Selectors


def rule(**fields: Any) -> Any:
    return read_rule({"code": 554, "tag": "t"} | fields, "n1")


def test_selectors_are_brought_to_one_form() -> None:
    assert rule(pool="p1", domain="*.BÜCHER.example").selectors == Selectors(
        pool="p1", domain="*.xn--bcher-kva.example", tag="t"
    )
    assert rule(mta="2001:DB8::0:1").selectors.mta == "2001:db8::1"
    assert rule(pool="@2001:DB8::0:1").selectors.pool == "@2001:db8::1"
    assert rule(domain="Example.COM.").selectors.domain == "example.com"


def test_a_star_as_a_whole_value_is_absent() -> None:
    assert rule(pool="*", mta="*", domain="*").selectors == Selectors(tag="t")


def test_cluster_false_binds_to_the_node() -> None:
    assert rule(cluster=False).selectors == Selectors(tag="t", cluster=False, node="n1")
    assert rule(cluster="0").selectors.node == "n1"
    assert rule(cluster="true").selectors.node is None


def test_everything_stands_for_no_selector() -> None:
    assert read_rule({"code": 450, "everything": True}, "n1").selectors == Selectors()


@pytest.mark.parametrize("code", [200, 250, 299, 400, 451, 599, "554"])
def test_codes_come_as_numbers_or_strings(code: int | str) -> None:
    assert rule(code=code).code == int(code)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"code": None}, "code"),
        *(({"code": code}, "code") for code in (0, 199, 300, 354, 399, 600, True, 554.0, "5x4", "٥٥٤", " 554", [554])),
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
        ({"cluster": 1}, "cluster"),
    ],
)
def test_a_bad_value_is_named(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(BadValue) as bad:
        rule(**fields)
    assert bad.value.field == field


@pytest.mark.parametrize(
    "name",
    [
        "ip",
        "mx",
        "tags_all",
        "except_tags",
        "tenant",
        "enabled",
        "expires_at",
        "duration",
        "at_the_door",
        "in_flight",
        "undo",
        "max_matches",
        "preview_token",
        "id",
        "node",
        "generation",
        "created_by",
        "Code",
    ],
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
        found = read_rule(fields, "n1")
    except BadValue as bad:
        named = bad.field
    else:
        named = "code"
        assert found.description.isprintable()
        assert found.reason.isprintable()
    assert named in {*fields, "code", "everything"}
