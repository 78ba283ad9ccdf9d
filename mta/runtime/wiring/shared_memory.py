"""The parts of a worker that are in the memory of its node."""

from typing import NamedTuple

from mta.dns.shared_answers import SharedAnswers, answers_memory
from mta.egress.known_hosts import KnownHosts
from mta.egress.shared_marks import egress_memory
from mta.runtime.worker_memory import WorkerMemory


class Shared(NamedTuple):
    """`answers` None: the process asks DNS for itself."""

    hosts: KnownHosts
    answers: SharedAnswers | None


def worker_memory() -> WorkerMemory:
    """New memory."""
    return WorkerMemory(egress_memory(), answers_memory())


def shared_in(memory: WorkerMemory | None) -> Shared:
    """None: the process has no such memory, and shares nothing."""
    if memory is None:
        return Shared(KnownHosts.alone(), None)
    return Shared(KnownHosts.at(memory.hosts), SharedAnswers(memory.answers))
