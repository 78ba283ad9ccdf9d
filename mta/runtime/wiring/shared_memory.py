"""The parts of a worker that are in the memory of its node."""

from typing import NamedTuple

from mta.dns.shared_answers import SharedAnswers
from mta.egress.dead_hosts import DeadHosts
from mta.egress.open_paths import OpenPaths
from mta.runtime.worker_memory import WorkerMemory


class Shared(NamedTuple):
    """They are of the same node."""

    dead: DeadHosts
    open_paths: OpenPaths
    answers: SharedAnswers | None


def shared_in(memory: WorkerMemory | None) -> Shared:
    """None: the process has no such memory, and shares nothing."""
    if memory is None:
        return Shared(DeadHosts.alone(), OpenPaths.alone(), None)
    return Shared(DeadHosts.at(memory.hosts), OpenPaths.at(memory.hosts), SharedAnswers(memory.answers))
