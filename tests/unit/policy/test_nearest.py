"""The tags that a mistyped one may stand for."""

import time

import pytest

from mta.policy.nearest import nearest

KNOWN = ["spring-sale", "summer-sale", "winter", "user_4711", "Newsletter-May", "großkunde", "news"]


@pytest.mark.parametrize(
    ("word", "found"),
    [
        ("spring-sael", ["spring-sale"]),
        ("sprin-sale", ["spring-sale"]),
        ("pspring-sale", ["spring-sale"]),
        ("Spring-Sale", ["spring-sale"]),
        ("newsletter-may", ["Newsletter-May"]),
        ("user_4171", ["user_4711"]),
        ("grosskunde", ["großkunde"]),
        ("wintre", ["winter"]),
        ("black-friday", []),
        ("x", []),
    ],
)
def test_o3_the_nearest_names_are_found(word: str, found: list[str]) -> None:
    assert nearest(word, KNOWN) == found


def test_the_nearest_of_several_come_first_and_are_three_at_most() -> None:
    known = [f"campaign_{n}" for n in range(100)]
    found = nearest("campaign_5x", known)
    assert len(found) == 3
    assert found[0].startswith("campaign_5")


def test_a_hundred_thousand_names_take_no_seconds() -> None:
    known = [f"user_{n}" for n in range(100_000)]
    begin = time.process_time()
    assert len(nearest("user_47x11", known)) == 3
    assert time.process_time() - begin < 1.5
