"""Turns by weight: every share that competes gets what its weight says, however the others behave."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from mta.model.shares import weight_of
from mta.policy.turns import Turns

SHARES = ("", "acme", "shop", ".1", "acme.1", ".2", "shop.2")


def take(turns: Turns, shares, count: int) -> list[str]:
    taken = []
    for _ in range(count):
        taken.append(turns.first(shares))
        turns.served(taken[-1], 1)
    return taken


@settings(max_examples=40, deadline=None)
@given(st.sets(st.sampled_from(SHARES), min_size=1), st.lists(st.sampled_from(SHARES), max_size=200))
def test_none_starves_whatever_was_served_before(shares, before):
    turns = Turns()
    for share in before:
        turns.first({share, *shares})
        turns.served(share, 7)
        take(turns, [share], 3)
    waits = Counter()
    # Those that are ahead are waited for once; from then on each has its turn within a round of all weights.
    take(turns, sorted(shares), 8000)
    for share in take(turns, sorted(shares), 1000):
        waits.update(set(shares) - {share})
        rounds = sum(weight_of(one) for one in shares) / weight_of(share) + len(shares)
        assert waits.pop(share, 0) <= rounds


@settings(max_examples=40, deadline=None)
@given(st.sets(st.sampled_from(SHARES), min_size=2))
def test_each_gets_what_its_weight_says(shares):
    rounds, weights = 50, {share: weight_of(share) for share in shares}
    taken = Counter(take(Turns(), sorted(shares), rounds * sum(weights.values())))
    for share, weight in weights.items():
        assert abs(taken[share] - rounds * weight) <= weight + 1


def test_a_share_that_had_nothing_to_do_is_next_and_saves_up_nothing():
    turns = Turns()
    take(turns, [""], 1_000)
    assert Counter(take(turns, ["", "acme"], 100)) == {"": 50, "acme": 50}
    take(turns, [""], 1_000)
    assert turns.first(["", ".2"]) == ".2"
    taken = take(turns, ["", ".2"], 170)
    assert Counter(taken) == {".2": 160, "": 10}


def test_the_marks_of_shares_that_are_gone_are_forgotten():
    turns = Turns()
    for number in range(10_000):
        take(turns, ["", f"t{number}"], 4)
    assert len(turns._marks) < 100


def test_a_plan_changes_nothing():
    turns = Turns()
    take(turns, ["", "a"], 3)
    before = repr(turns)
    planned, taken = turns.plan(["", "a", ".2"]), []
    while planned and len(taken) < 36:
        taken.append(planned.first())
        planned.served()
    assert repr(turns) == before
    assert Counter(taken) == Counter(take(turns, ["", "a", ".2"], 36))
    planned.drop()
    planned.drop()
    planned.drop()
    assert not planned
