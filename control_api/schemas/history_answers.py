"""Lists and histories as answers show them."""

from typing import Any

from msgspec import Struct

from control_api.schemas.answers import Time
from control_api.schemas.message_answers import Recipient


class MessageList(Struct, kw_only=True, frozen=True):
    """A page of deliveries, the newest first. Every event up to `as_of` is in it; `cursor` is null at the end."""

    as_of: Time
    messages: list[Recipient]
    cursor: str | None


class MessageHistory(Struct, kw_only=True, frozen=True):
    """Every event of a message or a delivery, in order, as the delivery log has them; the last attempt that failed has
    its SMTP session, too. Every event up to `as_of` is in it."""

    id: str
    as_of: Time
    events: list[dict[str, Any]]
