"""A process's time of day: it follows small steps of the host's clock and no large ones."""

import time

import pytest

from mta.timing.clock import SMALL, SteadyClock, boottime, wall_ms

DAYS = 5 * 86400.0


class Host:
    """The host's clocks, which the test moves."""

    def __init__(self) -> None:
        self.boot = 1000.0
        self.wall = 1_700_000_000.0

    def passes(self, seconds: float) -> None:
        self.boot += seconds
        self.wall += seconds


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    made = Host()
    monkeypatch.setattr(time, "time", lambda: made.wall)
    monkeypatch.setattr(time, "clock_gettime", lambda clock: made.boot)
    return made


@pytest.mark.parametrize("jump", [DAYS, -DAYS, SMALL + 1, -SMALL - 1])
def test_a_jump_is_told_and_not_followed_in_either_direction(host: Host, jump: float) -> None:
    clock = SteadyClock()
    host.passes(10)
    assert clock.follow() == 0
    host.wall += jump
    assert clock.now() == 1_700_000_010, "also before anybody has looked"
    host.passes(1)
    assert clock.follow() == pytest.approx(jump)
    assert clock.host_is_ahead == pytest.approx(jump)
    assert clock.follow() == 0, "told once"
    host.passes(100)
    assert clock.now() == pytest.approx(1_700_000_111)
    host.wall -= jump
    assert clock.follow() == pytest.approx(-jump)
    assert clock.host_is_ahead == pytest.approx(0, abs=1e-3)
    assert clock.now() == pytest.approx(host.wall)


@pytest.mark.parametrize("step", [0.5, -0.5, SMALL - 1, 1 - SMALL])
def test_small_steps_are_followed_also_while_a_jump_stands(host: Host, step: float) -> None:
    clock = SteadyClock()
    host.wall += step
    assert clock.follow() == 0
    assert clock.now() == pytest.approx(host.wall)
    host.wall += DAYS
    clock.follow()
    host.wall += step
    assert clock.follow() == 0
    assert clock.now() == pytest.approx(host.wall - DAYS)


def test_a_clock_counts_from_its_anchor(host: Host) -> None:
    clock = SteadyClock()
    ahead = clock.anchor(1_600_000_000.0)
    assert ahead == pytest.approx(99_999_000)
    assert clock.now() == 1_600_001_000
    assert clock.now_ms() == 1_600_001_000_000
    assert clock.follow() == 0, "no jump: it was known"


def test_a_machine_that_slept_has_not_jumped(host: Host) -> None:
    clock = SteadyClock()
    host.passes(DAYS)
    assert clock.follow() == 0
    assert clock.now() == host.wall


def test_without_a_jump_it_is_the_hosts_clock() -> None:
    assert abs(wall_ms() / 1000 - time.time()) < 1.0
    assert boottime() == pytest.approx(time.clock_gettime(time.CLOCK_BOOTTIME), abs=1.0)
