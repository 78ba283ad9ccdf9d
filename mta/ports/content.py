"""Where the contents of messages are kept; a record names the store and the address there."""

from typing import Protocol

from mta.model.ids import MessageId
from mta.model.mail import Record
from mta.model.placed_content import PlacedContent


class Content(Protocol):
    """Raises StoreAway, StoreError. The step that ends the last delivery of a message releases its content."""

    async def put(self, message: MessageId, content: bytes) -> PlacedContent:
        """Durable once the accept step that carries the answer is; gone by itself if that never comes."""
        ...

    async def place(self, message: MessageId, content: bytes) -> PlacedContent | None:
        """As `put`, of content that is too large for the accept step; None: the step takes it along."""
        ...

    async def get(self, message: MessageId, record: Record) -> bytes | None:
        """None: it is gone, which it never is for a delivery that lives."""
        ...
