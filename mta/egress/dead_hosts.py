"""Addresses that could not be connected to lately, so that they are not tried again for each message."""

import functools
import hashlib
import mmap
import os
import time
from collections.abc import Callable
from typing import Final, NamedTuple, Self

from mta.egress.targets import Target
from mta.model.phases import Phase
from mta.policy.failures import Trouble, broken

_SLOTS: Final = 4096  # a power of two
_SIZE: Final = 8 * _SLOTS
_REMEMBERED: Final = 16_384  # paths whose slots are remembered
_LOW: Final = 0xFFFFFFFF
_LONGEST: Final = 60_000  # ms: a slot that says more was written weeks ago

ANY_SOURCE: Final = ""  # the system chooses the sending IP


class _Path(NamedTuple):
    """A sending IP may be the cause of a failure, so that it is known for that IP alone."""

    source: str
    ip: str
    port: int


class DeadHosts:
    """By sending IP, IP address and port: until when the address is left alone, and why. Workers of a node share it in
    memory.

    A slot is one number, so that it is read and written at once: 32 bits of the path's hash, and until when, as the
    last 32 bits of monotonic milliseconds. Paths whose slot is the same displace each other: then an address is tried
    once more.
    """

    def __init__(self, memory: bytearray | mmap.mmap, clock: Callable[[], float] = time.monotonic) -> None:
        """`memory` has the size that `dead_hosts_memory` gives it; `clock` gives seconds, the same for all workers."""
        self._slots = memoryview(memory).cast("Q")
        self._clock = clock
        self._known: dict[_Path, tuple[float, Trouble]] = {}  # failures of this worker

    @classmethod
    def alone(cls) -> Self:
        return cls(bytearray(_SIZE))

    @classmethod
    def at(cls, descriptor: int) -> Self:
        return cls(mmap.mmap(descriptor, _SIZE))

    def add(self, target: Target, source: str, trouble: Trouble, seconds: float) -> None:
        """The address is left alone for that time by mail from `source`."""
        path, until = _Path(source, target.ip, target.port), self._clock() + seconds
        self._known[path] = until, trouble
        at, mark = _place(path)
        self._slots[at] = mark << 32 | int(until * 1000) & _LOW

    def trouble_of(self, target: Target, source: str) -> Trouble | None:
        """The failure for which the address is not tried now; None: it may be tried. The failure may have come under
        another host name, or in another worker."""
        path, now = _Path(source, target.ip, target.port), self._clock()
        known = self._known.get(path)
        if known is not None and known[0] > now:
            return known[1]._replace(host=target.host, untried=True)
        at, mark = _place(path)
        found = self._slots[at]
        if found >> 32 != mark or not 0 < (found - int(now * 1000)) & _LOW <= _LONGEST:
            return None
        words = "not tried: another worker of this node could not connect to it a moment ago"
        return broken(Phase.CONNECT, words, target.host, target.ip)._replace(untried=True)

    def forget_expired(self) -> None:
        """Forget the addresses that may be tried again."""
        now = self._clock()
        for path in [path for path, (until, _) in self._known.items() if until <= now]:
            del self._known[path]

    def forget_all(self) -> None:
        """Every address may be tried again, by all workers of the node."""
        self._known.clear()
        self._slots.cast("B")[:] = bytes(_SIZE)


def dead_hosts_memory() -> int:
    """A descriptor of new memory, which the workers of a node inherit."""
    memory = os.memfd_create("floodgate-dead-hosts")
    os.ftruncate(memory, _SIZE)
    return memory


@functools.lru_cache(maxsize=_REMEMBERED)
def _place(path: _Path) -> tuple[int, int]:
    """The number of its slot, and its mark there, which is never 0."""
    digest = hashlib.blake2b("|".join(map(str, path)).encode(), digest_size=8).digest()
    return int.from_bytes(digest[:4]) % _SLOTS, int.from_bytes(digest[4:]) | 1
