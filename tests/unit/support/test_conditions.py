"""A wait that fails says all that is known about its condition."""

import pytest

from tests.support.eventually import eventually
from tests.support.node import until


class Place:
    def __init__(self) -> None:
        self.asked = 0

    def arrived(self, domain: str) -> list[str]:
        return [f"a@{domain}", f"b@{domain}"]

    def state(self) -> dict[str, object]:
        self.asked += 1
        return {"state": "waits", "asked": self.asked}


def test_a_lambda_is_told_by_its_text_and_the_values_of_its_parts() -> None:
    place, goal = Place(), 3
    with pytest.raises(AssertionError) as failed:
        until(lambda: len(place.arrived("x.test")) == goal and place.asked, 0.0, "mail does not arrive")
    assert str(failed.value).splitlines() == [
        "mail does not arrive: not within 0.0 s",
        "condition: len(place.arrived('x.test')) == goal and place.asked",
        "last answer: False",
        "goal = 3",
        "now len(place.arrived('x.test')) = 2",
        "now place.arrived('x.test') = ['a@x.test', 'b@x.test']",
        "now place.asked = 0",
    ]


def test_of_two_lambdas_in_a_line_the_right_one_is_told_and_its_names_are_known() -> None:
    place = Place()
    with pytest.raises(AssertionError) as failed:
        until(lambda: (now := place.state())["state"] == "done" and now, 0.0, lambda: f"{place.arrived('y.test')}")
    assert str(failed.value).splitlines() == [
        "['a@y.test', 'b@y.test']: not within 0.0 s",
        "condition: (now := place.state())['state'] == 'done' and now",
        "last answer: False",
        "now (now := place.state())['state'] = 'waits'",
        "now (now := place.state()) = {'asked': 3, 'state': 'waits'}",
        "now now = {'asked': 3, 'state': 'waits'}",
    ]


def test_a_function_is_told_by_its_text_and_a_part_that_fails_is_no_failure_of_its_own() -> None:
    wanted = {"a": 1}

    def look() -> bool:
        return wanted["a"] == 2

    with pytest.raises(AssertionError, match=r"(?s)return wanted\[\"a\"\] == 2.*wanted = \{'a': 1\}"):
        until(look, 0.0)
    answers = iter([False])
    with pytest.raises(AssertionError, match=r"now next\(answers\) = \(StopIteration\(\)\)"):
        until(lambda: next(answers), 0.0)


async def test_a_condition_that_is_awaited_is_not_asked_again() -> None:
    place = Place()

    async def look() -> int:
        return place.state()["asked"] == 0

    with pytest.raises(AssertionError, match=r"condition: look\(\)\nlast answer: False$"):
        await eventually(lambda: look(), 0.0)
    assert place.asked == 1
