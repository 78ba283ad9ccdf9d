"""The reach of a bound token among rules (A4)."""

import pytest

from control_api.http.problems import Problem
from control_api.rules.tenancy import ordered, require_own, shown_to
from mta.model.actor import Actor, ActorKind
from mta.model.rules import Head, Rule, Selectors
from mta.model.scopes import Scope
from mta.policy.rule_table import RuleTable

WRITES = frozenset({Scope.ERRORS_WRITE})
ACME = Actor(ActorKind.TOKEN, "crm", scopes=WRITES, tenant="acme")
OPERATOR = Actor(ActorKind.TOKEN, "ops", scopes=WRITES)
ADMIN = Actor(ActorKind.TOKEN, "admin", scopes=frozenset({Scope.ADMIN}))


def refusal(rule: Rule, actor: Actor) -> tuple[int, str | None]:
    with pytest.raises(Problem) as problem:
        ordered(rule, actor)
    return problem.value.status, problem.value.field


def test_a4_a_rule_of_a_bound_token_reaches_its_tenants_mail_only() -> None:
    for named in (None, "acme"):
        rule = ordered(Rule("r", Selectors(tag="sale", tenant=named), 554), ACME)
        assert (rule.selectors, rule.owner) == (Selectors(tag="sale", tenant="acme"), "acme")
    assert ordered(Rule("r", Selectors(), 554), ACME).selectors == Selectors(tenant="acme")
    assert refusal(Rule("r", Selectors(tenant="other"), 554), ACME) == (403, "tenant")
    assert refusal(Rule("r", Selectors(tag="sale"), 250), ACME) == (403, "code")
    free = ordered(Rule("r", Selectors(tag="sale"), 250), OPERATOR)
    assert (free.selectors, free.owner) == (Selectors(tag="sale"), "")


def test_a4_a_rule_for_all_mail_needs_the_scope_admin() -> None:
    for selectors in (Selectors(), Selectors(except_tags=("vip",)), Selectors(accepted_before=5)):
        assert refusal(Rule("r", selectors, 554), OPERATOR) == (403, "everything")
        assert ordered(Rule("r", selectors, 554), ADMIN).selectors == selectors


def test_a4_a_bound_token_changes_its_own_rules_only() -> None:
    require_own(Rule("r", Selectors(tenant="acme"), 554, owner="acme"), ACME)
    require_own(Rule("r", Selectors(tenant="acme"), 554, owner="acme"), OPERATOR)
    with pytest.raises(Problem) as problem:
        require_own(Rule("r", Selectors(tenant="acme"), 554), ACME)
    assert problem.value.status == 403


def test_a4_a_rule_that_another_tenant_has_is_not_named() -> None:
    rules = [Rule("a", Selectors(tenant="acme"), 554), Rule("b", Selectors(tenant="other"), 554)]
    table = RuleTable.build(Head(1, "x"), rules)
    assert shown_to(ACME, {"shadowed_by": "a"}, table) == {"shadowed_by": "a"}
    assert shown_to(ACME, {"shadowed_by": "b"}, table) == {"shadowed_by": None}
    assert shown_to(OPERATOR, {"shadowed_by": "b"}, table) == {"shadowed_by": "b"}
