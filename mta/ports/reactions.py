"""The port to the replies that reactions count over all processes, and to the pauses that reactions ask for."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from mta.model.reactions import PauseWish


class Counted(NamedTuple):
    """The mail whose replies a reaction counts together."""

    reaction: str
    site: str
    scope: str  # "ip:<IP>", "pool:<pool>", "tenant:<tenant>", "tag:<tag>"


class ReactionStore(Protocol):
    """Each call raises StoreAway, StoreError."""

    async def seen(self, counted: Counted, replies: Sequence[str], needed: int, window_ms: int) -> list[str]:
        """More replies came. Where the last `needed` replies of all processes came within the window, the newest of
        them: the caller acts, and says so (`acted`). Else [], as for other callers while one acts, for 5 s at most. A
        call whose answer was lost may have counted."""
        ...

    async def acted(self, counted: Counted) -> None:
        """The order is given: the count begins anew."""
        ...

    async def wish(self, wish: PauseWish) -> None:
        """Ask the sweepers for a pause."""
        ...

    async def wishes(self) -> list[PauseWish]:
        """Those that nobody has fulfilled."""
        ...

    async def fulfilled(self, wish: PauseWish) -> None:
        """The pause is ordered. A later wish for the same pause stays."""
        ...
