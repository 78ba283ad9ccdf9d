"""Where the contents of messages are kept; a record names the store and the address there."""

from typing import Protocol

import msgspec

from mta.model.ids import MessageId
from mta.model.mail import Record


class PlacedContent(msgspec.Struct, frozen=True, gc=False):
    """A content on its way into the store, as the accept step takes it along."""

    value: bytes  # the lane keeps it beside the message id
    pending: tuple[bytes, ...] = ()  # keys written before, which expire unless the step makes them stay
    store: str = ""  # for the record: "" = the lane itself
    key: str = ""


class Content(Protocol):
    """Raises StoreAway, StoreError. The step that ends the last delivery of a message releases its content."""

    async def put(self, message: MessageId, content: bytes) -> PlacedContent:
        """Durable once the accept step that carries the answer is; gone by itself if that never comes."""
        ...

    async def get(self, message: MessageId, record: Record) -> bytes | None:
        """None: it is gone, which it never is for a delivery that lives."""
        ...
