"""Statements: the fields of the contract, and an equation that can fail."""

import msgspec
import pytest

from mta.model.rules import Kind, Rule, Selectors
from mta.model.sweeps import SweepPhase, SweepState
from mta.orders.statement import only_tag, rule_statement, tag_statement
from mta.ports.orders import Effect

TAG_COUNTS = {
    "accepted": 100,
    "delivered": 40,
    "bounced": 2,
    "intercepted:queued": 50,
    "intercepted:before_dot": 3,
    "queued": 5,
}
RULE_COUNTS = {"met": 56, "intercepted:queued": 50, "intercepted:before_dot": 3, "after": 2, "other": 1}


def effect(code: int = 554, quiet_at: int = 2000, **selectors: str) -> Effect:
    rule = Rule("r", Selectors(**(selectors or {"tag": "a"})), code, generation=7)
    return Effect(rule, True, True, 1000, 9000, (), quiet_at, (), ())


def sweep(state: str, generation: int = 7, share: float = 0.25) -> SweepState:
    return SweepState("r", generation, SweepPhase(state), 1000, 50, 1000, 3000, 1000, "o", share)


def test_tag_statement_balances_only_when_the_books_do():
    assert tag_statement("a", TAG_COUNTS, ["r"], 0).balanced
    assert not tag_statement("a", {**TAG_COUNTS, "accepted": 101}, ["r"], 0).balanced
    assert not tag_statement("a", {**TAG_COUNTS, "intercepted:door": 1}, ["r"], 0).balanced


def test_tag_statement_has_every_field_of_the_contract():
    said = msgspec.to_builtins(tag_statement("a", TAG_COUNTS, ["r"], 0))
    assert said["intercepted"] == {"queued": 50, "attempt": 0, "before_dot": 3, "door": 0}
    assert said["rules"] == ("r",)
    assert said["as_of"] == "1970-01-01T00:00:00.000Z"
    assert {
        "canceled",
        "filtered",
        "simulated",
        "held",
        "parked",
        "rejected",
        "deferred_by_rule",
        "undone",
        "uncertain",
    } <= said.keys()


def test_rule_statement_of_one_tag():
    said = msgspec.to_builtins(rule_statement(effect(), RULE_COUNTS, TAG_COUNTS, sweep("done"), 0))
    assert said["accepted"] == 100
    assert said["delivered"] == {"before": 38, "after": 2}
    assert said["queued"] == 5
    assert said["matched"] == 61 == 53 + 2 + 5 + 1
    assert said["complete"] is True
    assert said["balanced"] is True


def test_rule_statement_is_unbalanced_when_what_it_met_is_not_accounted_for():
    assert rule_statement(effect(), {**RULE_COUNTS, "met": 57}, TAG_COUNTS, sweep("done"), 0).balanced is False


def test_while_a_sweep_runs_nothing_is_called_balanced():
    for state in (sweep("running"), sweep("waiting"), sweep("done", generation=6), None):
        said = rule_statement(effect(), RULE_COUNTS, TAG_COUNTS, state, 0)
        assert said.complete is False
        assert said.balanced is None


def test_progress_of_a_sweep():
    said = msgspec.to_builtins(rule_statement(effect(), RULE_COUNTS, TAG_COUNTS, sweep("running"), 0))["sweep"]
    assert said == {"state": "running", "seen": 1000, "matched": 50, "rate": 500.0, "eta": 6.0}


def test_rule_with_other_selectors_tells_only_what_it_met():
    of_domain = rule_statement(effect(domain="example.com"), RULE_COUNTS, TAG_COUNTS, sweep("done"), 0)
    said = msgspec.to_builtins(of_domain)
    assert "accepted" not in said
    assert said["delivered"] == {"after": 2}
    assert said["matched"] == 56
    assert said["queued"] == 0


def test_deferred_deliveries_are_not_counted_as_queued_again():
    counts = {"met": 4, "deferred": 3, "other": 1}
    said = rule_statement(effect(code=450), counts, {"accepted": 10, "queued": 8, "delivered": 2}, None, 0)
    assert (said.deferred, said.queued, said.matched) == (3, 5, 9)
    assert said.complete
    assert "sweep" not in msgspec.to_builtins(said)


def test_statement_is_not_complete_while_something_is_past_its_dot():
    assert not rule_statement(effect(quiet_at=0), RULE_COUNTS, TAG_COUNTS, sweep("done"), 0).complete


def test_o14_a_pause_that_is_over_is_complete_when_it_holds_nothing_more():
    over = effect(0)
    over = over._replace(rule=msgspec.structs.replace(over.rule, kind=Kind.PAUSE, expires_at=5))
    counts = {"met": 3, "held": 2, "other": 1}
    for removed_at in (0, 6):
        said = rule_statement(over, counts, TAG_COUNTS, sweep("stopped"), 6, removed_at=removed_at)
        assert (said.held, said.complete, said.balanced) == (2, False, True)
        said = rule_statement(over, {"met": 3, "other": 3}, TAG_COUNTS, sweep("stopped"), 6, removed_at=removed_at)
        assert said.complete is True
    assert rule_statement(over, counts, TAG_COUNTS, sweep("done"), 4).complete is True, "in force it may hold"


@pytest.mark.parametrize("selector", [{"ip": "192.0.2.1"}, {"mx": "mx.test"}, {"mta": "192.0.2.9"}])
def test_o8_no_account_of_a_rule_that_acts_at_attempts_is_called_complete(selector: dict[str, str]):
    by_peer = effect(tag="a", **selector)
    said = msgspec.to_builtins(rule_statement(by_peer, RULE_COUNTS, None, None, 5))
    assert said["complete"] is None
    assert said["why_incomplete"] == "no sweep belongs to this rule: waiting mail meets it at its next attempt"
    assert "sweep" not in said
    over = by_peer._replace(rule=msgspec.structs.replace(by_peer.rule, expires_at=5))
    assert rule_statement(over, RULE_COUNTS, None, None, 5).complete is True, "it meets no more"


def test_o8_an_account_that_is_not_complete_says_why():
    for said, why in (
        (rule_statement(effect()._replace(effective=False), RULE_COUNTS, None, None, 0), "not effective everywhere"),
        (rule_statement(effect(), RULE_COUNTS, None, sweep("running"), 0), "the sweep of the queues is not over"),
        (rule_statement(effect(quiet_at=0), RULE_COUNTS, None, sweep("done"), 0), "final dot had been sent"),
    ):
        assert said.complete is False
        assert why in said.why_incomplete
    assert rule_statement(effect(), RULE_COUNTS, None, sweep("done"), 0).why_incomplete is msgspec.UNSET


def test_o8_undone_deliveries_are_a_class_of_their_own():
    counts = {"met": 60, "intercepted:queued": 10, "after": 2, "other": 1, "undone": 47}
    said = rule_statement(effect(), counts, TAG_COUNTS, sweep("done"), 0)
    assert (said.undone, said.other, said.balanced) == (47, 1, True)
    assert rule_statement(effect(), {**counts, "undone": 46}, TAG_COUNTS, sweep("done"), 0).balanced is False
    assert tag_statement("a", {**TAG_COUNTS, "undone": 47}, ["r"], 0).balanced, "beside the sum"


def test_o8_the_statement_says_which_rule_it_is_of():
    given = effect()
    made = {"reason": "wrong link", "created_by": "admin", "created_at": 1000, "expires_at": 9000}
    rule = msgspec.structs.replace(given.rule, selectors=Selectors(tags_all=("a", "b")), **made)
    said = msgspec.to_builtins(rule_statement(given._replace(rule=rule), RULE_COUNTS, None, sweep("done"), 0))
    assert said["tags_all"] == ("a", "b")
    assert (said["code"], said["cluster"], said["enabled"]) == (554, True, True)
    assert (said["reason"], said["created_by"]) == ("wrong link", "admin")
    assert (said["created_at"], said["expires_at"]) == ("1970-01-01T00:00:01.000Z", "1970-01-01T00:00:09.000Z")
    assert not {"tag", "domain", "node", "undo_until", "removed_at"} & said.keys()


def test_only_tag():
    assert only_tag(Selectors(tag="a")) == "a"
    assert only_tag(Selectors(tag="a", domain="example.com")) is None
    assert only_tag(Selectors(domain="example.com")) is None


def test_a_rule_that_is_not_in_force_meets_nothing_more():
    off, over = effect(), effect()
    off = off._replace(rule=msgspec.structs.replace(off.rule, enabled=False))
    over = over._replace(rule=msgspec.structs.replace(over.rule, expires_at=5))
    for state in (off, over):
        said = rule_statement(state, RULE_COUNTS, TAG_COUNTS, None, 5)
        assert (said.queued, said.matched, said.complete, said.balanced) == (0, 56, True, True)
        assert said.sweep is msgspec.UNSET
    assert rule_statement(over, RULE_COUNTS, TAG_COUNTS, None, 4).complete is False
    assert rule_statement(over, RULE_COUNTS, TAG_COUNTS, sweep("stopped"), 5).complete is True
