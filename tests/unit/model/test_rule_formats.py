"""The format of rules: what was there from the first, and what came later."""

import msgspec

from mta.model import rules
from mta.model.rules import Kind, Rule, Selectors, format_of, newest_format

FIRST = {
    "id", "selectors", "code", "extended", "description", "created_at", "created_by", "reason", "generation", "enabled",
    "expires_at", "kind", "at_the_door", "in_flight", "undo",
    "selectors.pool", "selectors.mta", "selectors.domain", "selectors.tag", "selectors.cluster", "selectors.node",
    "selectors.ip", "selectors.mx", "selectors.tags_all", "selectors.except_tags", "selectors.tenant",
    "kind=error", "kind=pause", "at_the_door=accept", "at_the_door=reject", "in_flight=abort", "in_flight=finish",
}  # fmt: skip


def test_k15_whatever_is_added_to_rules_is_noted_under_a_new_format():
    """A field or value missing here came after the first release: give it a number of its own in rules.SINCE."""
    there = {field.name for field in msgspec.structs.fields(Rule)}
    there |= {f"selectors.{field.name}" for field in msgspec.structs.fields(Selectors)}
    for name, words in (("kind", rules.Kind), ("at_the_door", rules.AtTheDoor), ("in_flight", rules.InFlight)):
        there |= {f"{name}={word.value}" for word in words}
    assert there - rules.SINCE.keys() == FIRST
    assert min(rules.SINCE.values(), default=2) > rules.FIRST_FORMAT


def test_k15_a_rule_needs_the_format_of_the_newest_thing_in_it(monkeypatch):
    monkeypatch.setattr(rules, "SINCE", {"selectors.mx": 2, "kind=pause": 3, "undo": 4})
    assert newest_format() == 4
    assert format_of(Rule("r", Selectors(tag="t"), 554)) == 1
    assert format_of(Rule("r", Selectors(mx="mx.example"), 554)) == 2
    assert format_of(Rule("r", Selectors(mx="mx.example"), kind=Kind.PAUSE)) == 3
    assert format_of(Rule("r", Selectors(tag="t"), 554, undo=False)) == 4


def test_k15_without_later_formats_there_is_one():
    assert newest_format() == max(rules.SINCE.values(), default=1)
