"""One message as its sender asks about it: where each of its deliveries stands, and its cancellation."""

from typing import NamedTuple, Protocol

from mta.model.actor import Actor
from mta.model.endings import Common, Final
from mta.model.ids import DeliveryId, MessageId
from mta.model.mail import Record
from mta.model.outcomes import Class


class Standing(NamedTuple):
    """Where one delivery stands; times are Unix milliseconds."""

    id: DeliveryId
    state: Class  # QUEUED: due, scheduled, deferred or claimed
    record: Record | None = None  # of what lives
    final: Final | None = None  # of what has ended
    due_at: int = 0  # when it is attempted next; 0 = it is claimed, or is not queued
    asked_at: int = 0  # since when whoever claims it is to cancel it, 0 = nobody asks
    uncertain: bool | None = None  # whether it may have reached the recipient although it lives, or ended otherwise
    pool: str = ""  # of what lives; "" = not known
    common: Common | None = None  # of what has ended, as far as it is known


class Messages(Protocol):
    """Raises StoreAway, StoreError."""

    async def show(self, message: MessageId) -> list[Standing]:
        """Every delivery that lives, or ended within `status.retention`, by its number; [] = nothing is known."""
        ...

    async def cancel(self, message: MessageId, actor: Actor, wait: float) -> list[Standing]:
        """End as canceled whatever waits; ask the workers for what they hold, at most `wait` seconds. Then as `show`:
        what is not answered yet has `asked_at`, and no dot of it is handed over from then + S + 0.5 s on. May be
        repeated. What a rule has intercepted stays so, and can be undone no more."""
        ...
