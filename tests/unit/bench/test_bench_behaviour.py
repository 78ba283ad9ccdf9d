import pytest

from bench.behaviour import Behaviour

NUMBERS = [b"%08d" % number for number in range(10_000)]


@pytest.mark.parametrize("seed", [1, 2, -3])
def test_a_share_of_first_attempts_is_deferred_and_every_second_one_is_taken(seed: int) -> None:
    behaviour = Behaviour(defer=0.2, seed=seed)
    deferred = [number for number in NUMBERS if behaviour.at_dot([number]) == "defer"]
    assert 1850 < len(deferred) < 2150
    assert {behaviour.at_dot([number]) for number in deferred} == {""}


def test_the_draw_is_of_the_number_and_the_seed() -> None:
    def lots(seed: int, numbers: list[bytes]) -> dict[bytes, str]:
        behaviour = Behaviour(defer=0.2, refuse=0.2, stall=0.2, seed=seed)
        return {number: behaviour.at_dot([number]) for number in numbers}

    assert lots(1, NUMBERS) == lots(1, NUMBERS[::-1])
    assert lots(1, NUMBERS) != lots(2, NUMBERS)
    assert set(lots(1, NUMBERS).values()) == {"", "defer", "refuse", "stall"}


def test_what_is_refused_is_refused_again() -> None:
    behaviour = Behaviour(refuse=1.0)
    assert [behaviour.at_dot([b"00000001"]) for _ in range(3)] == ["refuse"] * 3


def test_recipients_that_were_deferred_together_are_taken_when_they_come_apart() -> None:
    behaviour = Behaviour(defer=1.0)
    assert behaviour.at_dot([b"00000001", b"00000002", b"00000003"]) == "defer"
    assert behaviour.at_dot([b"00000003", b"00000001"]) == ""
    assert behaviour.at_dot([b"00000002"]) == ""


def test_recipients_without_a_number_are_taken() -> None:
    assert Behaviour(defer=1.0).at_dot([]) == ""
