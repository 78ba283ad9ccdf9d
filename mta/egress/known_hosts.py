"""Known hosts: which ones could not be connected to, and which paths are open, for all workers of a node."""

from typing import NamedTuple, Self

from mta.egress.dead_hosts import DeadHosts
from mta.egress.open_paths import OpenPaths


class KnownHosts(NamedTuple):
    """Both lie in the memory that `shared_marks.egress_memory` made."""

    dead: DeadHosts
    open_paths: OpenPaths

    @classmethod
    def alone(cls) -> Self:
        """Of one worker that shares nothing."""
        return cls(DeadHosts.alone(), OpenPaths.alone())

    @classmethod
    def at(cls, descriptor: int) -> Self:
        return cls(DeadHosts.at(descriptor), OpenPaths.at(descriptor))
