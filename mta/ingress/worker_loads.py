"""The crew of a node: how many sessions each of its workers has open, told in memory that the workers share."""

import mmap
import os
from typing import NamedTuple, Self

IN_VAIN = 32  # connections left to a member that takes none at all, before it is passed over

_SLOT = 8  # bytes: two numbers, each written at once


class Seat(NamedTuple):
    """One member's place, as its process is told it."""

    memory: int  # a descriptor, inherited
    member: int


def seats(members: int) -> tuple[Seat, ...]:
    """In new memory, nobody being there yet."""
    memory = os.memfd_create("floodgate-crew")
    os.ftruncate(memory, members * _SLOT)
    return tuple(Seat(memory, member) for member in range(members))


class Crew:
    """One member's view.

    Of each member there is told: 0 while it takes no connections, else its open sessions and one more; and how many
    connections it has taken so far, by which the others see that it lives.
    """

    def __init__(self, memory: bytearray | mmap.mmap, member: int) -> None:
        """`memory` holds a slot for each member, all 0 at first; `member` counts from 0."""
        self._numbers = memoryview(memory).cast("I")
        self._at = 2 * member
        self._vain: dict[tuple[int, int], int] = {}  # of whom did not take what was left to it: how often, in a row

    def __repr__(self) -> str:
        return f"<Crew, member {self._at // 2}: sessions {self.sessions()}>"

    @classmethod
    def alone(cls) -> Self:
        return cls(bytearray(_SLOT), 0)

    @classmethod
    def at(cls, seat: Seat) -> Self:
        return cls(mmap.mmap(seat.memory, 0), seat.member)

    def sessions(self) -> list[int | None]:
        """Of each member; None: it takes no connections."""
        return [number - 1 if number else None for number in self._numbers.tolist()[::2]]

    def tell(self, sessions: int, taken: int) -> None:
        """This member takes connections, has so many open, and has taken so many so far."""
        self._numbers[self._at + 1] = taken & 0xFFFFFFFF
        self._numbers[self._at] = sessions + 1

    def leave(self) -> None:
        """This member takes no more, or is no more."""
        self._numbers[self._at] = 0

    def is_ahead(self, full: bool) -> bool:
        """This member has notably more than another that takes connections: 2 to 0, 22 to 18, 114 to 100.

        To a `full` one, that has no room for another connection, any difference is notable.
        """
        numbers = self._numbers.tolist()
        mine = least = numbers[self._at]
        for at in range(0, len(numbers), 2):
            if 0 < numbers[at] < least and self._vain.get((at, numbers[at + 1]), 0) < IN_VAIN:
                least = numbers[at]
        return mine - least > (0 if full else 1 + least // 8)

    def in_vain(self) -> None:
        """A connection was left to those who have fewer, and none of them took it."""
        numbers = self._numbers.tolist()
        fewer = [(at, numbers[at + 1]) for at in range(0, len(numbers), 2) if 0 < numbers[at] < numbers[self._at]]
        self._vain = {who: self._vain.get(who, 0) + 1 for who in fewer}

    def relent(self) -> None:
        """Who is passed over may have one more connection left to it; asked now and then."""
        self._vain = {who: min(times, IN_VAIN) - 1 for who, times in self._vain.items()}
