"""The memory that the workers of a node inherit, for what they find out and all of them use."""

import msgspec

from mta.dns.shared_answers import answers_memory
from mta.egress.shared_marks import egress_memory


class WorkerMemory(msgspec.Struct, frozen=True):
    """Its descriptors: what is known of hosts, and answers of DNS."""

    hosts: int
    answers: int

    @property
    def descriptors(self) -> set[int]:
        return {self.hosts, self.answers}


def worker_memory() -> WorkerMemory:
    """New memory."""
    return WorkerMemory(egress_memory(), answers_memory())
