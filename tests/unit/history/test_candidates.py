from array import array
from typing import Any

import pytest

from mta.history.candidates import Candidates
from mta.ports.history_writer import PLACE_BITS


@pytest.mark.parametrize("each", [3, 9000])
def test_a_page_of_postings_has_a_bound_and_none_is_missed(each: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounds of a busy hour have thousands of deliveries each: an export holds one page of them at a time."""
    rounds = 300

    def postings(self: Any, condition: Any, before: int, least: int, most: int) -> dict[int, "array[int]"]:
        first = max(0, before - most)
        return {at: array("I", range(each)) for at in range(min(before, rounds) - 1, first - 1, -1)}

    monkeypatch.setattr(Candidates, "_postings", postings)
    monkeypatch.setattr(Candidates, "_sample", lambda self, condition: 1)
    candidates = Candidates.__new__(Candidates)
    candidates._conditions = [(1, "spring")]
    sizes, last = [], rounds << PLACE_BITS
    for page, down_to in candidates._by_postings(last):
        assert list(page) == sorted(page, reverse=True)
        assert not page or (last > page[0] and page[-1] >= down_to)
        sizes.append(len(page))
        last = down_to
    assert sum(sizes) == rounds * each
    assert max(sizes[4:], default=0) <= 50_000
    assert each > 1000 or len(sizes) < 6, "small rounds are read many at a time"
