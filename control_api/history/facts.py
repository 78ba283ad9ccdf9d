"""The facts of a delivery as its newest event tells them: one value for each cell of a record."""

import struct
import time
from functools import lru_cache
from typing import Any, Final

from mta.model.ids import MessageId, message_text
from mta.model.outcomes import Stage
from mta.model.status import DeliveryRow, Status, standing_of

Facts = tuple[Any, ...]

# The cells of a record in their order; "" = not known, and absent in an answer, but for the sender.
CELLS: Final = (
    "id", "message_id", "recipient", "sender", "status", "reason",
    "error.code", "error.enhanced", "error.text", "category", "forced.rule", "forced.generation", "forced.stage",
    "forced.by",
    "tags", "tenant", "pool", "mta", "mx", "attempts", "next_attempt", "accepted_at", "sent_at", "delivered_at",
    "canceled_at", "ended_at", "updated_at", "seq", "metadata", "uncertain",
)  # fmt: skip

LONGEST_REPLY: Final = 1024  # characters of a peer's reply that are shown

_SENT, _DELIVERED, _CANCELED, _UNDELIVERABLE = Status.SENT, Status.DELIVERED, Status.CANCELED, Status.UNDELIVERABLE

_parts = struct.Struct(">16sH").unpack  # of a delivery id


def facts_of(row: DeliveryRow) -> Facts:
    """By the order of `CELLS`. Untrusted text is as it came; the writer of a page or a file makes it visible."""
    delivery, event = row.id, row.last
    message, number = _parts(delivery)
    text = message_text(MessageId(message))
    status, reason = standing_of(event)
    at = rfc3339(event.time)
    arrived = status is _DELIVERED or status is _SENT
    sent_at = delivered_at = canceled_at = ended_at = enhanced = words = ""
    code: int | str = ""
    if arrived:
        ended_at = at
        if status is _SENT:
            sent_at = at
        else:
            delivered_at = at
    else:
        if event.code:
            code, enhanced, words = event.code, event.enhanced, event.text[:LONGEST_REPLY]
        if status is _CANCELED:
            canceled_at = ended_at = at
        elif status is _UNDELIVERABLE:
            ended_at = at
    forced, next_attempt = event.forced, event.next_attempt
    rule = by = ""
    generation: int | str = ""
    stage: Stage | str | None = ""
    if forced is not None:
        rule, generation, stage, by = forced
    return (
        f"{text}.{number}", text, event.recipient, event.sender, status, reason or "",
        code, enhanced, words, event.category, rule, generation, stage or "", by,
        event.tags, event.tenant, event.pool, event.mta, event.mx, event.attempt,
        rfc3339(next_attempt) if next_attempt else "", rfc3339(event.queued_at or row.accepted_at), sent_at,
        delivered_at, canceled_at, ended_at, at, event.seq, event.properties or "", "" if arrived else event.uncertain,
    )  # fmt: skip


@lru_cache(maxsize=4096)
def rfc3339(ms: int) -> str:
    """As `format_time`, of many times of which some are the same or of the same minute."""
    minute, rest = divmod(ms, 60_000)
    return f"{_minute(minute)}{rest // 1000:02d}.{rest % 1000:03d}Z"


@lru_cache(maxsize=4096)
def _minute(minutes: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:", time.gmtime(60 * minutes))
