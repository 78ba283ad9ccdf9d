"""A loop that stands still is told from one that turns, and from an observer that stood still itself."""

import os

import pytest

from mta.runtime import heartbeat
from mta.runtime.heartbeat import FIRST_BEAT, Heartbeat, StallWatch, new_memory
from tests.support.scheduling import until

LEASE = 5.0


def watched(watch: StallWatch, number: int, since: float, until: float) -> float:
    """The last answer of looks twice a second."""
    now, found = since, 0.0
    while now < until:
        now += 0.5
        found = watch.look(number, now)
    return found


def test_a_heart_that_stands_still_for_longer_than_the_lease_is_told():
    watch = StallWatch(LEASE, 0, 0.0)
    watch.look(1, 0.5)
    assert watched(watch, 1, 0.5, 5.5) == 0
    assert watched(watch, 1, 5.5, 6.0) == 5.5


def test_each_beat_begins_anew():
    watch = StallWatch(LEASE, 0, 0.0)
    assert not any(watch.look(beat, beat * 4.0 / 2) for beat in range(1, 50))


def test_a_process_has_longer_for_its_first_beat():
    watch = StallWatch(LEASE, 7, 0.0)
    assert watched(watch, 7, 0.0, FIRST_BEAT) == 0
    assert watched(watch, 7, FIRST_BEAT, FIRST_BEAT + 0.5) > FIRST_BEAT


@pytest.mark.parametrize("gap", [3.0, 600.0])
def test_an_observer_that_stood_still_itself_begins_anew(gap: float):
    watch = StallWatch(LEASE, 0, 0.0)
    watch.look(1, 0.5)
    watched(watch, 1, 0.5, 5.0)
    assert watch.look(1, 5.0 + gap) == 0
    assert watched(watch, 1, 5.0 + gap, 10.0 + gap) == 0


async def test_the_loop_itself_beats(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(heartbeat, "BEAT_EVERY", 0.001)
    memory = new_memory()
    seen = Heartbeat(memory)
    before = seen.read()
    Heartbeat.start(memory)
    os.close(memory)
    await until(lambda: seen.read() >= before + 3)
