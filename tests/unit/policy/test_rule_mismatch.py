"""The reasons that a rule does not match agree with the table that decides."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.model.rules import Head, Kind, Rule, Selectors
from mta.policy.rule_mismatch import MailDescription, mismatches
from mta.policy.rule_table import RuleTable

NOW = 1_800_000_000_000
MAIL = MailDescription("default", "example.com", ("red", "blue"), "acme", "192.0.2.1", "big")


def table(*rules: Rule, protected: tuple[str, ...] = ()) -> RuleTable:
    return RuleTable.empty("n1", protected, lambda: NOW).rebuilt(Head(1, "x"), rules)


def why(rule: Rule, mail: MailDescription = MAIL, protected: tuple[str, ...] = ()) -> list[str]:
    return mismatches(rule, mail, table(rule, protected=protected), NOW)


@pytest.mark.parametrize(
    ("selectors", "reason"),
    [
        (Selectors(pool="gold"), "it asks for pool gold"),
        (Selectors(domain="*.example.com"), "it asks for domain *.example.com"),
        (Selectors(domains=("a.test", "b.test")), "it asks for domain a.test or b.test"),
        (Selectors(mta="192.0.2.9"), "it asks for sending IP 192.0.2.9"),
        (Selectors(ip="192.0.2.9"), "it asks for the peer 192.0.2.9, which an attempt alone tells"),
        (Selectors(mx="*.google.com"), "it asks for the peer *.google.com, which an attempt alone tells"),
        (Selectors(site="small"), "it asks for site small"),
        (Selectors(tag="green"), "it asks for tag green"),
        (Selectors(tags_all=("green", "red")), "it asks for all of its tags, and green is missing"),
        (Selectors(except_tags=("red",)), "it spares mail with tag red"),
        (Selectors(tenant="other"), "it asks for tenant other"),
        (Selectors(cluster=False, node="n2"), "it is in force on node n2 only"),
        (Selectors(sender="a@x.test"), "it asks for sender a@x.test, which each message alone tells"),
        (Selectors(accepted_before=5), "it asks for the time of acceptance, which each message alone tells"),
    ],
)
def test_each_selector_that_does_not_fit_is_a_reason(selectors: Selectors, reason: str) -> None:
    assert why(Rule("r", selectors, 554)) == [reason]


def test_a_rule_that_is_off_says_so() -> None:
    tagged = Selectors(tag="red")
    assert why(Rule("r", tagged, 554, enabled=False)) == ["it is disabled"]
    assert why(Rule("r", tagged, 554, expires_at=NOW)) == ["it has expired"]
    never = Selectors(tag="red", schedule="Mo 00:00-00:01", timezone="UTC")  # NOW is a Friday
    assert why(Rule("r", never, kind=Kind.PAUSE)) == ["its schedule is off now"]


def test_protected_mail_is_a_reason_unless_the_rule_names_a_protected_tag() -> None:
    assert "protected" in why(Rule("r", Selectors(pool="default"), 554), protected=("red",))[0]
    assert why(Rule("r", Selectors(tag="red"), 554), protected=("red",)) == []


TAGS = ("red", "blue", "green")
SOME = st.lists(st.sampled_from(TAGS), min_size=1, unique=True).map(lambda tags: tuple(sorted(tags)))
SELECTORS = st.builds(
    Selectors,
    pool=st.sampled_from((None, None, "default", "gold")),
    domain=st.sampled_from((None, None, "example.com", "*.com", "other.test")),
    tag=st.sampled_from((None, *TAGS)),
    tags_all=st.none() | SOME,
    except_tags=st.none() | SOME,
    tenant=st.sampled_from((None, None, "acme", "other")),
    site=st.sampled_from((None, None, "big", "small")),
)
MAILS = st.builds(
    MailDescription,
    st.sampled_from(("default", "gold")),
    st.sampled_from(("example.com", "x.com", "other.test")),
    st.lists(st.sampled_from(TAGS), unique=True).map(tuple),
    st.sampled_from(("", "acme")),
    site=st.sampled_from(("", "big")),
)


@given(SELECTORS, MAILS, st.booleans(), st.sampled_from((0, NOW - 1, NOW + 1)), st.sampled_from(((), ("red",))))
def test_there_is_no_reason_exactly_where_the_table_says_that_it_matches(
    selectors: Selectors, mail: MailDescription, enabled: bool, expires_at: int, protected: tuple[str, ...]
) -> None:
    rule = Rule("r", selectors, 554, enabled=enabled, expires_at=expires_at)
    known = table(rule, protected=protected)
    matches = known.matches(rule, mail.pool, mail.mta, mail.domain, mail.labels, site=mail.site or None)
    assert (mismatches(rule, mail, known, NOW) == []) is matches
