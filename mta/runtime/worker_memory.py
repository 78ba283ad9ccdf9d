"""The memory that the workers of a node inherit, for what they find out and all of them use."""

import msgspec


class WorkerMemory(msgspec.Struct, frozen=True):
    """Its descriptors: what is known of hosts, and answers of DNS."""

    hosts: int
    answers: int

    @property
    def descriptors(self) -> set[int]:
        return {self.hosts, self.answers}
