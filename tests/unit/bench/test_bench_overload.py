import os
import time

import psutil

from bench.idle import spent_by
from bench.overload_watch import Second, peaks, recovered_after
from bench.plan import Plan
from bench.tally import Tally


def seconds(*looks: tuple[str, float]) -> list[Second]:
    return [
        Second(float(at), 1.0, phase, 10, 10, 0, p99 / 2, p99, at, 2 * at, 30.0, 40.0 + at, 5.0)
        for at, (phase, p99) in enumerate(looks, 1)
    ]


def test_recovered_is_the_last_second_that_was_worse_than_twice_the_calm() -> None:
    calm, storm = [("before", 30.0), ("before", 40.0)], [("overload", 900.0), ("overload", 300.0)]
    assert recovered_after(seconds(*calm, *storm, ("after", 70.0), ("after", 10.0))) == 0.0
    assert recovered_after(seconds(*calm, *storm, ("", 500.0), ("after", 90.0), ("after", 79.0))) == 2.0
    assert recovered_after(seconds(*calm, *storm, ("after", 30.0), ("after", 81.0))) is None
    quick = [("before", 2.0)]
    assert recovered_after(seconds(*quick, *storm, ("after", 19.0), ("after", 2.0))) == 0.0, "that is no trouble"


def test_peaks_are_of_all_seconds() -> None:
    found = peaks(seconds(("before", 1.0), ("overload", 2.0), ("", 3.0)))
    assert found == {"queued": 3, "backlog": 6, "worker_mib": 30.0, "journal_mib": 43.0, "server_mib": 5.0}


def test_sources_that_follow_one_another_number_their_messages_apart() -> None:
    tally = Tally(Plan(10, [1024], 2, first=500), 1, rate=1000.0)
    assert [tally.next_number(), tally.next_number()] == [500, 501]
    assert tally.wait_for(501) < 0.1
    tally.taken(501, time.perf_counter())
    assert tally.accepted_at[0] == 0.0
    assert tally.accepted_at[1] > 0.0
    assert b"u00000501@" in tally.plan.envelope(501)


def test_what_a_process_spends_is_counted_finer_than_the_clocks_tick() -> None:
    me = psutil.Process(os.getpid())
    before = spent_by(me)
    for _ in range(20):
        time.sleep(0.001)
    used = spent_by(me).since(before)
    assert 0.0 < used.seconds < 0.5
    assert used.waits >= 20
