"""An actor: who orders a change, as the audit of changes and the log name it."""

import enum
from typing import Final, NamedTuple

from mta.model.scopes import Scope


class ActorKind(enum.StrEnum):
    """The right by which an actor acts."""

    TOKEN = "token"  # a request with a valid token
    SYSTEM = "system"  # the relay itself


class Actor(NamedTuple):
    """The author of a change. An actor that is bound to a tenant sees and changes that tenant's mail only."""

    kind: ActorKind
    name: str
    address: str = ""  # of the client; "" = it is no client
    token: str = ""  # id of its token; "" = the administrator's token, or none
    scopes: frozenset[Scope] = frozenset()
    tenant: str = ""  # "" = it is bound to none
    simulates: bool = False  # all mail that it hands in goes to the simulation

    @property
    def author(self) -> str:
        """The text that stands as the author of its changes: the name, and the id of its token."""
        return f"{self.name} ({self.token})" if self.token else self.name

    def may(self, scope: Scope) -> bool:
        """Whether its token has the scope."""
        return scope in self.scopes or Scope.ADMIN in self.scopes

    def sees(self, tenant: str | None) -> bool:
        """Whether it may know of a thing that belongs to `tenant`; "" and None = to none."""
        return not self.tenant or self.tenant == tenant

    def __str__(self) -> str:
        return f"{self.author} ({self.address})" if self.address else self.author


NOBODY: Final = Actor(ActorKind.SYSTEM, "")
FAILOVER: Final = Actor(ActorKind.SYSTEM, "failover")  # puts changes again that a failover lost
