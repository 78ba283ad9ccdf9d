"""Addresses that could not be connected to lately, so that they are not tried again for each message."""

import time
from collections.abc import Callable
from typing import Final, NamedTuple, Self

from mta.egress.shared_marks import DEAD_HOSTS, SharedMarks, place_of
from mta.egress.targets import Target
from mta.model.phases import Phase
from mta.policy.failures import Trouble, broken

ANY_SOURCE: Final = ""  # the system chooses the sending IP


class _Path(NamedTuple):
    """A sending IP may be the cause of a failure, so that it is known for that IP alone."""

    source: str
    ip: str
    port: int


class DeadHosts:
    """By sending IP, IP address and port: until when the address is left alone, and why. Workers of a node share the
    times. Where marks of two addresses displace each other an address is tried once more."""

    def __init__(self, marks: SharedMarks, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` gives seconds, the same for all workers."""
        self._marks = marks
        self._clock = clock
        self._known: dict[_Path, tuple[float, Trouble]] = {}  # failures of this worker

    @classmethod
    def alone(cls) -> Self:
        return cls(SharedMarks.alone())

    @classmethod
    def at(cls, descriptor: int) -> Self:
        return cls(SharedMarks.at(descriptor, DEAD_HOSTS))

    def add(self, target: Target, source: str, trouble: Trouble, seconds: float) -> None:
        """The address is left alone for that time by mail from `source`."""
        path, until = _Path(source, target.ip, target.port), self._clock() + seconds
        self._known[path] = until, trouble
        self._marks.set(place_of(path), until)

    def trouble_of(self, target: Target, source: str) -> Trouble | None:
        """The failure for which the address is not tried now; None: it may be tried. The failure may have come under
        another host name, or in another worker."""
        path, now = _Path(source, target.ip, target.port), self._clock()
        known = self._known.get(path)
        if known is not None and known[0] > now:
            return known[1]._replace(host=target.host, untried=True)
        if self._marks.get(place_of(path), now) is None:
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
        self._marks.clear()
