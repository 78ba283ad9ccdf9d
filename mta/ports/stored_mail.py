"""Mail whose content the store still has: to read it, and to send it once more; raises StoreAway, StoreError."""

from typing import NamedTuple, Protocol

from mta.model.errors import FloodgateError
from mta.model.ids import MessageId


class ContentGone(FloodgateError):
    """The store has let go of the content: no delivery needs it any more, and there is no undo copy."""


class StillWaits(FloodgateError):
    """No delivery of the message has ended: those that wait are sent anyway."""


class KeptMail(NamedTuple):
    """A message that the store knows."""

    tenant: str  # "" = it has none, or it is not known any more
    content: bytes | None  # as it is sent, before dot-stuffing; None: the store has let go of it


class Resent(NamedTuple):
    """A message that was made of another one."""

    message: MessageId
    recipients: tuple[str, ...]  # in the order of its deliveries


class StoredMail(Protocol):
    """The content of messages."""

    async def read(self, message: MessageId) -> KeptMail | None:
        """None: the store does not know the message."""
        ...

    async def resend(self, message: MessageId, number: int, client: str) -> Resent | None:
        """Accept a new message of the same content for the recipients whose delivery has ended, or for the recipient
        of that number (from 1) alone; the old message stays as it is. `client` is the address of whoever asks. Raises
        ContentGone, StillWaits, StoreFull, BacklogFull, StoreUnsafe: nothing was accepted; OutcomeUnknown."""
        ...
