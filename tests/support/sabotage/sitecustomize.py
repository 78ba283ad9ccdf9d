"""Faults that only a process can do to itself: with this folder in PYTHONPATH, Python loads it at each start.

SIGUSR1: the main thread, and so the event loop, computes without an end. FAKE_CLOCK names a file with the seconds by
which the wall clock is wrong; it is read at each look at the clock, and no other clock is touched.
"""

import os
import signal
import time


def _spin(signum: int, frame: object) -> None:
    while True:
        pass


if hasattr(signal, "SIGUSR1") and os.environ.get("SABOTAGE"):
    signal.signal(signal.SIGUSR1, _spin)

if _file := os.environ.get("FAKE_CLOCK"):
    _time_ns, _clock_gettime, _clock_gettime_ns = time.time_ns, time.clock_gettime, time.clock_gettime_ns

    def _wrong_ns() -> int:
        with open(_file) as file:
            return int(float(file.read() or 0) * 1e9)

    def time_ns() -> int:
        return _time_ns() + _wrong_ns()

    def clock_gettime_ns(clock: int) -> int:
        return _clock_gettime_ns(clock) + (_wrong_ns() if clock == time.CLOCK_REALTIME else 0)

    def clock_gettime(clock: int) -> float:
        return _clock_gettime(clock) + (_wrong_ns() / 1e9 if clock == time.CLOCK_REALTIME else 0)

    time.time_ns = time_ns
    time.time = lambda: time_ns() / 1e9
    time.clock_gettime = clock_gettime
    time.clock_gettime_ns = clock_gettime_ns
