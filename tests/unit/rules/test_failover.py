"""Changes that a failover lost, told from tables and trails: rules that were put, removed, or only not known."""

import msgspec

from mta.model.rules import NO_HEAD, Head, Kind, Rule, Selectors
from mta.ports.rule_store import Step, Trail
from mta.rules.failover import Loss, loss_of

NOTHING = Loss((), (), ())


def rule(name: str, generation: int, **more) -> Rule:
    return Rule(name, Selectors(tag=more.pop("tag", name)), 554, generation=generation, **more)


def heads(*names: str) -> list[Head]:
    """ "15a" is generation 15 of the lineage a."""
    return [Head(int(name[:-1]), name[-1]) for name in names]


def trail(*names: str, regained: int = 0, **was: int) -> Trail:
    return Trail(tuple(Step(head, was.get(f"_{head.generation}", 0)) for head in heads(*names)), regained)


def loss(ours, passed, stored, found, head=None) -> Loss | None:
    known = [step.head for step in found.steps]
    return loss_of(ours, passed, head or (known[-1] if known else NO_HEAD), stored, found)


def test_a_table_that_only_moved_on_has_lost_nothing():
    assert loss([rule("r", 2)], heads("1a", "2a"), [], trail("1a", "2a", "3a")) is None
    assert loss([], [NO_HEAD], [rule("r", 1)], trail("1a")) is None
    assert loss([], [], [rule("r", 1)], trail("1a")) is None, "a process that has just begun"


def test_one_that_is_too_far_behind_puts_nothing_again():
    assert loss([rule("r", 2)], heads("2a"), [], trail("500a", "501a")) is None


def test_what_was_put_and_edited_in_lost_generations_is_lost():
    ours = [rule("old", 1), rule("edited", 4, reason="new"), rule("made", 3)]
    stored = [rule("old", 1), rule("edited", 2)]
    assert loss(ours, heads("1a", "2a", "3a", "4a"), stored, trail("1a", "2a")) == Loss(tuple(ours[1:]), (), ())


def test_what_was_removed_in_lost_generations_stands():
    stored = [rule("kept", 1), rule("removed", 2)]
    assert loss([stored[0]], heads("1a", "2a", "3a"), stored, trail("1a", "2a")) == Loss((), (stored[1],), ())


def test_what_was_ordered_since_is_newer_than_what_was_lost_however_its_number_compares():
    ours = [rule("edited", 9, reason="lost")]
    stored = [rule("edited", 3, reason="since"), rule("new", 4)]
    found = trail("1a", "2a", "3b", "4b")
    assert loss(ours, heads("1a", "2a", "3a", "9a"), stored, found) == NOTHING


def test_what_was_removed_since_stays_removed():
    ours = [rule("removed since", 2), rule("lost", 4)]
    assert loss(ours, heads("1a", "2a", "3a", "4a"), [], trail("1a", "2a", "3b")) == Loss((ours[1],), (), ())


def test_a_head_that_is_beyond_ours_by_other_changes_went_back_all_the_same():
    ours = [rule("lost", 3)]
    assert loss(ours, heads("1a", "2a", "3a"), [], trail("1a", "2a", "3b", "4b", "5b")) == Loss((ours[0],), (), ())


def test_the_same_selectors_ordered_anew_stand_and_a_pause_of_them_is_another_rule():
    lost, paused = rule("lost", 3, tag="t"), rule("paused", 3, tag="t", kind=Kind.PAUSE)
    stored = [rule("anew", 3, tag="t")]
    found = loss([lost, paused], heads("1a", "2a", "3a"), stored, trail("1a", "2a", "3b"))
    assert found == Loss((paused,), (), (lost,))


def test_a_store_that_came_back_empty_has_lost_everything():
    ours = [rule(f"r{n}", n) for n in range(1, 9)]
    assert loss(ours, heads("7a", "8a"), [], trail(), NO_HEAD) == Loss(tuple(ours), (), ())


def test_a_slow_process_puts_nothing_again_that_one_that_knew_more_did_not():
    slow = [rule("removed in a lost generation", 3)]
    found = trail("1a", "2a", "6f", regained=5)
    assert loss(slow, heads("1a", "2a", "3a"), [], found) is None
    later = [rule("removed since", 4), rule("known to me alone", 6)]
    more = trail("1a", "2a", "6f", "7f", "8c", regained=5, _6=4)
    assert loss(later, heads("1a", "2a", "5a", "6a"), [], more) == Loss((later[1],), (), ())


def test_one_that_knows_more_mends_what_a_slower_one_put_again():
    mine, since = rule("r", 5, reason="edited twice"), rule("s", 5)
    slow = msgspec.structs.replace(mine, generation=6, reason="edited once")
    new = msgspec.structs.replace(since, generation=8, reason="edited since")
    found = trail("1a", "2a", "6f", "7f", "8b", regained=4, _6=4)
    assert loss([mine, since], heads("1a", "2a", "4a", "5a"), [slow, new], found) == Loss((mine,), (), ())
