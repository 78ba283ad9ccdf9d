"""Fingerprints: a set of numbers, in any order and however often they come."""

from hypothesis import given
from hypothesis import strategies as st

from mta.policy.fingerprints import Fingerprints, fingerprint, packed, unpacked

NUMBERS = st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 600), max_size=60)


@given(NUMBERS, NUMBERS)
def test_it_has_what_was_added_and_nothing_else(added: list[int], asked: list[int]) -> None:
    prints = Fingerprints()
    prints.add(added[:20])
    prints.add(added[20:])
    assert len(prints) == len(set(added))
    assert [one in prints for one in added + asked] == [one in set(added) for one in added + asked]


@given(NUMBERS)
def test_packed_ones_come_out_as_they_were(numbers: list[int]) -> None:
    assert unpacked(packed(numbers)) == numbers


def test_a_fingerprint_is_the_same_in_every_process() -> None:
    assert fingerprint(b"anna@x.test\0\0") == 13815053187835831859
