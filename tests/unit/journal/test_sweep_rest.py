"""History rests while a sweep fills the spool, for a minute at most."""

from pathlib import Path

import pytest

from mta.journal.sweep_rest import SweepRest
from mta.model.events import EventType
from mta.ports.history_writer import Round
from mta.timing.processors import idle_seconds

MB = 1_000_000


class FakeSpool:
    """Its size is what a test says."""

    def __init__(self) -> None:
        self.size, self.limit = 0, 10_000 * MB

    def is_full(self, part: float = 1.0) -> bool:
        return self.size >= part * self.limit


def round_of(kind: EventType, events: int) -> Round:
    made = Round("s1")
    made.events = events
    half = events // 2
    made.hours = {(1, "p", "a.test", "", "", kind): half, (1, "p", "b.test", "", "", kind): events - half}
    return made


def rested(spool: FakeSpool) -> SweepRest:
    """On busy processors, behind a round of other mail."""
    made = SweepRest(spool, lambda: 7.0)  # type: ignore[arg-type]
    made.begin_behind(round_of(EventType.DELIVERY, 9000), 99.0)
    return made


@pytest.fixture
def spool() -> FakeSpool:
    return FakeSpool()


@pytest.fixture
def rest(spool: FakeSpool) -> SweepRest:
    made = rested(spool)
    made.begin_behind(round_of(EventType.INTERCEPTED, 2000), 100.0)
    return made


@pytest.mark.parametrize(
    ("kind", "events", "rests"),
    [
        (EventType.INTERCEPTED, 2000, True),
        (EventType.HOLD, 2000, True),
        (EventType.INTERCEPTED, 1999, False),
        (EventType.DELIVERY, 100_000, False),
    ],
)
def test_it_begins_behind_a_round_of_a_sweep(spool: FakeSpool, kind: EventType, events: int, rests: bool) -> None:
    made = rested(spool)
    assert not made.lasts
    made.begin_behind(round_of(kind, events), 100.0)
    assert made.lasts is rests


@pytest.mark.parametrize(("idle", "rests"), [(0.3, True), (0.5, False)])
def test_it_begins_where_the_processors_are_busy(spool: FakeSpool, idle: float, rests: bool) -> None:
    told = iter([50.0, 50.0 + idle])
    made = SweepRest(spool, lambda: next(told))  # type: ignore[arg-type]
    made.begin_behind(round_of(EventType.DELIVERY, 2000), 100.0)
    made.begin_behind(round_of(EventType.INTERCEPTED, 2000), 101.0)
    assert made.lasts is rests


def test_the_processors_of_this_machine_are_idle_at_times() -> None:
    """Where the kernel tells; elsewhere they are taken for busy."""
    assert idle_seconds() > 0 or not Path("/proc/stat").exists()


def test_it_ends_once_the_spool_grows_slowly_for_three_looks_in_a_row(spool: FakeSpool, rest: SweepRest) -> None:
    lasted = []
    for second, grown in enumerate([10, 10, 1, 1, 6, 4, 0, 4, 10], 101):
        spool.size += grown * MB
        rest.look(float(second))
        rest.look(second + 0.5)  # too early for another look
        lasted.append(rest.lasts)
    assert lasted == [True] * 7 + [False] * 2


def test_it_ends_where_only_other_mail_comes(spool: FakeSpool, rest: SweepRest) -> None:
    for second in (101, 102, 103):
        assert rest.lasts
        spool.size += MB // 2
        rest.look(float(second))
    assert not rest.lasts


def test_it_ends_after_a_minute(spool: FakeSpool, rest: SweepRest) -> None:
    for second in range(101, 160):
        spool.size += 2 * MB
        rest.look(float(second))
    assert rest.lasts
    spool.size += 2 * MB
    rest.look(160.0)
    assert not rest.lasts


def test_it_ends_where_a_quarter_of_the_spool_is_full(spool: FakeSpool, rest: SweepRest) -> None:
    spool.size = 2499 * MB
    rest.look(101.0)
    assert rest.lasts
    spool.size = 5000 * MB
    rest.look(102.0)
    assert not rest.lasts
