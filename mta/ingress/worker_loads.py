"""The number of open sessions of each worker of a node, in memory that the workers share."""

import mmap
import os
from typing import Final, NamedTuple, Self

MISSED_AT_MOST: Final = 32  # offered connections that a worker may leave unaccepted in a row before it is skipped

_SLOT: Final = 8  # bytes: two numbers, each written at once


class LoadSlot(NamedTuple):
    """The place of one worker in that memory, which the worker gets at its start."""

    memory: int  # a descriptor, inherited
    worker: int


def load_slots(workers: int) -> tuple[LoadSlot, ...]:
    """In new memory; no worker is there yet."""
    memory = os.memfd_create("floodgate-loads")
    os.ftruncate(memory, workers * _SLOT)
    return tuple(LoadSlot(memory, worker) for worker in range(workers))


class WorkerLoads:
    """The loads of all workers, as one of them sees and updates them.

    The first number of a slot is 0 while its worker accepts no connections, else its open sessions plus one. The second
    counts the connections that the worker has accepted; the others see by it that the worker lives.
    """

    def __init__(self, memory: bytearray | mmap.mmap, worker: int) -> None:
        """`memory` holds a slot for each worker, all 0 at first; `worker` counts from 0."""
        self._numbers = memoryview(memory).cast("I")
        self._at = 2 * worker
        # (place of the slot, accepted connections) -> offered connections that the worker has missed in a row
        self._missed: dict[tuple[int, int], int] = {}

    def __repr__(self) -> str:
        return f"<WorkerLoads of worker {self._at // 2}: sessions {self.sessions()}>"

    @classmethod
    def alone(cls) -> Self:
        return cls(bytearray(_SLOT), 0)

    @classmethod
    def at(cls, slot: LoadSlot) -> Self:
        return cls(mmap.mmap(slot.memory, 0), slot.worker)

    def sessions(self) -> list[int | None]:
        """Of each worker; None: it accepts no connections."""
        return [number - 1 if number else None for number in self._numbers.tolist()[::2]]

    def tell(self, sessions: int, accepted: int) -> None:
        """This worker accepts connections, has `sessions` open, and has accepted `accepted` so far."""
        self._numbers[self._at + 1] = accepted & 0xFFFFFFFF
        self._numbers[self._at] = sessions + 1

    def leave(self) -> None:
        """This worker accepts no more connections, or has ended."""
        self._numbers[self._at] = 0

    def is_ahead(self, full: bool) -> bool:
        """Whether this worker has notably more sessions than another one that accepts: 2 to 0, 22 to 18, 114 to 100.

        Any difference is notable to a `full` worker, which has no room for another connection.
        """
        numbers = self._numbers.tolist()
        mine = least = numbers[self._at]
        for at in range(0, len(numbers), 2):
            if 0 < numbers[at] < least and self._missed.get((at, numbers[at + 1]), 0) < MISSED_AT_MOST:
                least = numbers[at]
        return mine - least > (0 if full else 1 + least // 8)

    def missed(self) -> None:
        """A connection was offered to the workers with fewer sessions, and none of them accepted it."""
        numbers = self._numbers.tolist()
        fewer = [(at, numbers[at + 1]) for at in range(0, len(numbers), 2) if 0 < numbers[at] < numbers[self._at]]
        self._missed = {worker: self._missed.get(worker, 0) + 1 for worker in fewer}

    def decay(self) -> None:
        """Called once a second: each skipped worker is offered one more connection."""
        self._missed = {worker: min(times, MISSED_AT_MOST) - 1 for worker, times in self._missed.items()}
