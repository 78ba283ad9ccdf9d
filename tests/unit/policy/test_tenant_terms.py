"""The terms of tenants in the rule table, and the weights of their shares."""

import msgspec

from mta.model.mail import tenant_mark
from mta.model.rules import Change, ChangeOp, Head, Kind, Rule, Selectors
from mta.policy.rule_effect import holds, swept
from mta.policy.rule_table import RuleTable
from mta.policy.tenant_terms import ShareWeights, is_suspended, may_send_from
from mta.policy.turns import Turns


def terms(tenant: str, suspended: bool = False, **more: object) -> Rule:
    chosen = Selectors(tenant=tenant)
    return Rule(f"t-{tenant}", chosen, kind=Kind.TENANT, enabled=suspended, **more)  # type: ignore[arg-type]


def table_of(*rules: Rule) -> RuleTable:
    return RuleTable.build(Head(len(rules), "c"), rules)


def test_terms_of_an_active_tenant_match_nothing_and_cost_no_lookup() -> None:
    table = table_of(terms("acme", weight=3))
    assert table.is_empty
    assert table.tenants["acme"].weight == 3
    assert table.match("default", "", "x.test", ("a", tenant_mark("acme"))) is None
    assert not swept(table.tenants["acme"])


def test_a_suspended_tenants_mail_is_held_and_nobody_elses() -> None:
    rule = terms("acme", suspended=True)
    table = table_of(rule)
    assert is_suspended(rule)
    assert holds(rule)
    assert swept(rule)
    assert table.match("default", "", "x.test", ("a", tenant_mark("acme"))) is rule
    assert table.match("default", "", "x.test", ("a", tenant_mark("other"))) is None
    assert table.match("default", "", "x.test", ("a",)) is None


def test_changes_are_followed_by_name() -> None:
    rule = terms("acme")
    table = table_of(rule, Rule("e", Selectors(tag="a"), 554))
    suspended = msgspec.structs.replace(rule, enabled=True, generation=3)
    table = table.apply([Change(Head(3, "d"), ChangeOp.PUT, suspended)])
    assert table.tenants == {"acme": suspended}
    seen = table.tenants
    table = table.apply([Change(Head(4, "e"), ChangeOp.REMOVE, Rule("e", Selectors(tag="a"), 554))])
    assert table.tenants is seen, "a change of other rules copies nothing"
    table = table.apply([Change(Head(5, "f"), ChangeOp.REMOVE, suspended)])
    assert table.tenants == {}
    assert table.is_empty


def test_the_weight_of_a_share_is_its_priority_times_its_tenant() -> None:
    weights = ShareWeights()
    assert [weights(share) for share in ("", "acme", ".2", "acme.1")] == [1, 1, 16, 4]
    assert weights.take(table_of(terms("acme", weight=3), terms("other"))) == ()
    assert [weights(share) for share in ("", "acme", ".2", "acme.1", "other")] == [1, 3, 16, 12, 1]
    weights.take(table_of())
    assert weights("acme") == 1


def test_turns_go_by_the_weight_of_tenants() -> None:
    weights = ShareWeights()
    weights.take(table_of(terms("acme", weight=3)))
    turns, served = Turns(weights), {"acme": 0, "other": 0}
    for _ in range(400):
        share = turns.first(served)
        served[share] += 1
        turns.served(share, 1)
    assert served == {"acme": 300, "other": 100}


def test_senders_are_domains_and_their_subdomains() -> None:
    rule = terms("acme", senders=("acme.test", "*.acme.test"))
    assert [may_send_from(rule, name) for name in ("acme.test", "a.b.acme.test", "notacme.test", "test")] == [
        True, True, False, False,
    ]  # fmt: skip
