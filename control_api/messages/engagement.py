"""The first open and the first click of a delivery in its record, as history knows them."""

import contextlib
from collections.abc import Sequence

from msgspec.structs import replace

from control_api.dependencies import Dependencies
from control_api.http.times import shown
from control_api.schemas.message_answers import Recipient
from mta.model.errors import HistoryError
from mta.model.events import EventType
from mta.model.ids import MessageId, delivery_text

_FIELDS = {EventType.OPEN: "opened_at", EventType.CLICK: "clicked_at"}


async def with_engagement(deps: Dependencies, message: MessageId, recipients: Sequence[Recipient]) -> list[Recipient]:
    """The records with the first visit that may be a reader's. Where history gives no answer they stay as they are."""
    first: dict[str, dict[str, str | None]] = {}
    with contextlib.suppress(HistoryError):
        for kept in await deps.history.events_of(message):
            event = kept.event
            field = _FIELDS.get(event.type)
            if field is not None and event.id is not None and not event.reason:
                first.setdefault(delivery_text(event.id), {}).setdefault(field, shown(event.time))
    return [replace(one, **first.get(one.id, {})) for one in recipients]
