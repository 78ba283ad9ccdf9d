"""The heartbeat of a process: a number in shared memory that its event loop raises and its supervisor reads.

A process that exists is not a process that works: a loop that computes for minutes, or a process that was stopped,
answers nobody. Only the loop itself can say that it still turns.
"""

import asyncio
import mmap
import os
from typing import Final, Self

BEAT_EVERY: Final = 0.5  # seconds
LOOK_EVERY: Final = 0.5  # seconds
FIRST_BEAT: Final = 60.0  # seconds that a process has to start its loop, where the lease is shorter

_SIZE: Final = 8


class Heartbeat:
    """The number in shared memory; the process raises it, the supervisor reads it."""

    def __init__(self, memory: int) -> None:
        """`memory` is a descriptor that `new_memory` made."""
        self._number = memoryview(mmap.mmap(memory, _SIZE)).cast("Q")

    @classmethod
    def start(cls, memory: int) -> Self:
        """Called in the process itself: its running loop raises the number from now on."""
        made, loop = cls(memory), asyncio.get_running_loop()

        def beat() -> None:
            made._number[0] += 1
            loop.call_later(BEAT_EVERY, beat)

        beat()
        return made

    def read(self) -> int:
        return int(self._number[0])


def new_memory() -> int:
    """A descriptor that the process inherits."""
    memory = os.memfd_create("floodgate-heartbeat")
    os.ftruncate(memory, _SIZE)
    return memory


class StallWatch:
    """How long the heartbeat of one process has stood still, as one observer saw it.

    Only time that was watched counts. An observer that stood still itself (a stopped supervisor, a suspended machine)
    begins anew: it cannot know what happened meanwhile.
    """

    def __init__(self, lease: float, number: int, now: float) -> None:
        """`number` is the heartbeat before the process started; `now` is monotonic time in seconds."""
        self._lease = lease
        self._blink = lease / 2  # seconds between two looks beyond which the observer itself stood still
        self._limit = max(lease, FIRST_BEAT)  # until the first beat
        self._number = number
        self._since = self._looked = now

    def look(self, number: int, now: float) -> float:
        """The seconds for which it has stood still, if these exceed the lease; else 0."""
        if number != self._number:
            self._limit = self._lease
        if number != self._number or now - self._looked > self._blink:
            self._number, self._since = number, now
        self._looked = now
        return now - self._since if now - self._since > self._limit else 0.0
