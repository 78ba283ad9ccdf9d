"""Processes as the store knows them: each confirms the head of the rule table under a session."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple, Protocol

from mta.model.cancel_orders import CancelOrders
from mta.model.rules import Build, Change, Head, PastDot, SessionState


class Confirmed(NamedTuple):
    """The answer to a confirmation."""

    ok: bool  # False: the session is behind, and nothing was written
    head: Head  # the store's
    changes: tuple[Change, ...] = ()  # from the asked head on, in order; up to `head` where they are not many
    canceled: CancelOrders = MappingProxyType({})  # since the last answer that was OK; told with OK only
    reload: bool = False  # `changes` cannot lead there (no successor, or too far behind): load the whole table


class SessionStore(Protocol):
    """Sessions in `{rules}`; raises StoreAway, StoreError."""

    @property
    def session(self) -> str:
        """The id of this process's session."""
        ...

    def renew(self) -> str:
        """Go on under a new session, after the old one was given up for dead; not registered before confirmed."""
        ...

    async def confirm(
        self, seq: int, head: Head, past_dot: Sequence[PastDot], metrics: Mapping[str, float]
    ) -> Confirmed:
        """Compare the heads and register the session, in one step. seq 1 registers this process. May be repeated; the
        session's number in the store moves with each call that runs. Raises StoreAway also where too few replicas have
        the confirmation, since a failover may forget it; raises SessionLost."""
        ...

    async def cannot_read(self, seq: int, reason: str, metrics: Mapping[str, float]) -> None:
        """Tell the store that this process lives, and confirms nothing because it cannot read a rule; registers it
        where seq is 1. Raises SessionLost."""
        ...

    async def leave(self) -> None:
        """Say goodbye: after the last dot, and with all claims given back."""
        ...

    async def sessions(self) -> dict[str, SessionState]:
        """By id."""
        ...

    async def builds(self) -> dict[str, Build]:
        """By session, of the sessions that registered one."""
        ...

    async def mark_dead(self, session: str, seq: int | None) -> bool:
        """Give a session up whose number has stood still at `seq` (None: its process was reaped). False: the number has
        moved on."""
        ...

    async def forget(self, session: str) -> None:
        """Remove a dead session, after its claims were taken back in every lane."""
        ...

    async def max_staleness(self) -> float:
        """S, seconds: one value for the cluster."""
        ...

    def on_published(self, hint: Callable[[], None]) -> None:
        """Register a hook that is run when the store publishes that the head moved; such a hint may never come."""
        ...
