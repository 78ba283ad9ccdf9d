"""Every kind of nasty destination at once: how its delivery ends, and how many copies it got."""

from tests.destinations.kinds import KINDS
from tests.destinations.run_floodgate import disagreements, run


def test_every_kind_of_destination_ends_as_its_line_says(tmp_path):
    assert disagreements(KINDS, run(KINDS, tmp_path)) == []


def test_each_difference_from_postfix_has_a_reason():
    assert len({kind.name for kind in KINDS}) == len(KINDS) >= 100
    assert [kind.name for kind in KINDS if bool(kind.postfix) != bool(kind.why)] == []
