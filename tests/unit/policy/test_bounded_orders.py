"""Orders with a bound: the hold that meets everything that it matches, and the rules that it may become."""

import msgspec
import pytest

from mta.model.rules import BoundState, Head, Kind, Rule, Selectors, format_of
from mta.policy.bounded_orders import Decided, as_ordered, hold_for, in_place, is_hold, passed, refused, replaced
from mta.policy.rule_effect import ends, in_force, is_counting
from mta.policy.rule_table import RuleTable, rank

ORDER = Rule("r1", Selectors(tag="t"), 554, "5.7.1", "no", created_at=7, created_by="ann", expires_at=99, undo=False)


def hold(name: str = "r1", generation: int = 3, **selectors: object) -> Rule:
    chosen = Selectors(**selectors) if selectors else ORDER.selectors  # type: ignore[arg-type]
    order = msgspec.structs.replace(ORDER, id=name, selectors=chosen)
    return msgspec.structs.replace(hold_for(order, 10), generation=generation)


def test_the_hold_has_no_end_of_its_own_and_keeps_the_terms_of_the_order() -> None:
    made = hold()
    assert is_counting(made)
    assert is_hold(made)
    assert in_force(made, 10**15)
    assert (as_ordered(made).code, as_ordered(made).expires_at, as_ordered(made).kind) == (554, 99, Kind.ERROR)


def test_what_passes_becomes_the_error_that_was_ordered() -> None:
    made = passed(hold(), 3, 9, 55)
    assert msgspec.structs.replace(made, bound=None, generation=0) == ORDER
    assert made.bound is not None
    assert (made.bound.state, made.bound.matched, made.bound.held_at) == (BoundState.PASSED, 9, 55)
    assert made.bound.becomes is None
    assert ends(made)
    assert not is_counting(made)


def test_what_is_refused_or_replaced_lets_go_of_its_mail() -> None:
    let_go = {BoundState.REFUSED: refused(hold(), 3, 11), BoundState.PASSED: replaced(hold(), 3, 9, "r0")}
    for state, made in let_go.items():
        assert not made.enabled
        assert made.bound is not None
        assert made.bound.state is state
        assert is_hold(made)
        assert not is_counting(made)
    assert ends(in_place(hold(), 9))


@pytest.mark.parametrize(
    "decide", [lambda r, g: passed(r, g, 1, 1), lambda r, g: refused(r, g, 1)], ids=["passed", "refused"]
)
def test_only_the_hold_that_was_counted_is_decided(decide) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(Decided):
        decide(hold(generation=4), 3)
    with pytest.raises(Decided):
        decide(passed(hold(), 3, 1, 1), 3)
    with pytest.raises(Decided):
        decide(Rule("r1", Selectors(tag="t"), kind=Kind.PAUSE, generation=3), 3)


def test_a_hold_wins_over_pauses_the_older_hold_over_the_newer_and_an_end_over_all() -> None:
    pause = Rule("p", Selectors(tag="t", domain="x.test", pool="p"), kind=Kind.PAUSE, generation=9)
    old, new = hold("old", 3, domain="*.test"), hold("new", 4, tag="t", domain="x.test")
    end = Rule("e", Selectors(domain="x.test"), 554, generation=1)
    assert sorted((end, pause, new, old), key=rank, reverse=True) == [end, old, new, pause]

    def winner(*rules: Rule) -> Rule | None:
        return RuleTable.build(Head(9, "c"), rules).match("p", "", "x.test", ("t",))

    assert winner(pause, new, old) == old
    assert winner(pause, new) == new
    assert winner(pause, new, old, end) == end


def test_builds_that_do_not_know_bounds_do_not_get_a_hold() -> None:
    assert format_of(hold()) > format_of(ORDER)
