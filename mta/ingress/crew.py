"""The crew of a node: how many sessions each of its workers has open, told in memory that the workers share."""

import mmap
import os
from typing import NamedTuple, Self

_SLOT = 4  # bytes, and written at once


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
    """One member's view. A slot holds 0 for a member that takes no connections, else its open sessions and one more."""

    def __init__(self, memory: bytearray | mmap.mmap, member: int) -> None:
        """`memory` holds one slot for each member, all 0 at first; `member` counts from 0."""
        self._slots = memoryview(memory).cast("I")
        self._member = member

    def __repr__(self) -> str:
        return f"<Crew, member {self._member}: sessions {self.sessions()}>"

    @classmethod
    def alone(cls) -> Self:
        return cls(bytearray(_SLOT), 0)

    @classmethod
    def at(cls, seat: Seat) -> Self:
        return cls(mmap.mmap(seat.memory, 0), seat.member)

    def sessions(self) -> list[int | None]:
        """Of each member; None: it takes no connections."""
        return [slot - 1 if slot else None for slot in self._slots]

    def tell(self, sessions: int) -> None:
        """This member takes connections, and has so many open."""
        self._slots[self._member] = sessions + 1

    def leave(self) -> None:
        """This member takes no more, or is no more."""
        self._slots[self._member] = 0

    def ahead(self) -> bool:
        """This member has notably more than another that takes any: 2 against 0, 22 against 18, 114 against 100."""
        slots = self._slots.tolist()
        least: int = min(filter(None, slots), default=0)
        return slots[self._member] - least > 1 + least // 8
