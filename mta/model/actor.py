"""An actor: who orders a change, as the audit of changes and the log name it."""

import enum
from typing import NamedTuple


class ActorKind(enum.StrEnum):
    """The right by which an actor acts."""

    TOKEN = "token"  # a request with a valid token
    SYSTEM = "system"  # the relay itself


class Actor(NamedTuple):
    """The author of a change."""

    kind: ActorKind
    name: str  # the author of its changes
    address: str = ""  # of the client; "" = it is no client

    def __str__(self) -> str:
        return f"{self.name} ({self.address})" if self.address else self.name
