"""The facts of a delivery as its newest event tells them: one value for each cell of a record."""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

import orjson

from mta.model.events import Event, EventType
from mta.model.ids import message_texts
from mta.model.status import DeliveryRow, Status, standing_of

Facts = tuple[Any, ...]

# The cells of a record in their order; "" = not known, and absent in an answer, but for the sender.
CELLS: Final = (
    "id", "message_id", "recipient", "sender", "status", "reason",
    "error.code", "error.enhanced", "error.text", "category", "fault", "forced.rule", "forced.generation",
    "forced.stage", "forced.by",
    "tags", "tenant", "pool", "mta", "mx", "attempts", "next_attempt", "accepted_at", "sent_at", "delivered_at",
    "canceled_at", "ended_at", "updated_at", "seq", "metadata", "uncertain", "topic",
    "opened_at", "clicked_at",
)  # fmt: skip

LONGEST_REPLY: Final = 1024  # characters of a peer's reply that are shown

# To look a member up at its class, and to encode one, takes several times as long as with a plain string.
_DELIVERY: Final = EventType.DELIVERY
_SENT, _DELIVERED = Status.SENT.value, Status.DELIVERED.value
_CANCELED, _UNDELIVERABLE = Status.CANCELED.value, Status.UNDELIVERABLE.value
_OTHER_ENDS: Final = (_UNDELIVERABLE, Status.FILTERED.value, Status.THROTTLED.value, Status.SIMULATED.value)

_SECONDS: Final = tuple(f"{second:02d}" for second in range(60))
_THOUSANDTHS: Final = tuple(f".{ms:03d}Z" for ms in range(1000))


def facts_of(rows: Sequence[DeliveryRow], in_words: bool = False) -> list[Facts]:
    """Of each row by the order of `CELLS`. Untrusted text is as it came; the writer of a page or a file makes it
    visible. `in_words`: every fact is a word or a text, lists are joined by a space, and metadata is a JSON object."""
    texts = message_texts([row.id for row in rows])
    return [_facts(row, text, in_words) for row, text in zip(rows, texts, strict=True)]


def _facts(row: DeliveryRow, text: str, in_words: bool) -> Facts:
    """`text` is that of the message's id."""
    delivery, event = row.id, row.last
    if event.type is _DELIVERY:
        status, reason = _SENT if event.relayed else _DELIVERED, ""
    else:
        status, reason = _status(event)
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
        elif status in _OTHER_ENDS:
            ended_at = at
    forced, next_attempt = event.forced, event.next_attempt
    rule = by = stage = ""
    generation: int | str = ""
    if forced is not None:
        rule, generation, at_stage, by = forced
        stage = at_stage.value if at_stage is not None else ""
    tags: Any = event.tags
    metadata: Any = event.properties or ""
    uncertain: Any = "" if arrived else event.uncertain
    if in_words:
        tags = tags[0] if len(tags) == 1 else " ".join(tags)
        metadata = orjson.dumps(metadata).decode() if metadata else ""
        uncertain = "true" if uncertain else "" if arrived else "false"
    return (
        f"{text}.{int.from_bytes(delivery[16:], 'big')}", text, event.recipient, event.sender, status, reason,
        code, enhanced, words, event.category, event.fault, rule, generation, stage, by,
        tags, event.tenant, event.pool, event.mta, event.mx, event.attempt,
        rfc3339(next_attempt) if next_attempt else "", rfc3339(event.queued_at or row.accepted_at), sent_at,
        delivered_at, canceled_at, ended_at, at, event.seq, metadata, uncertain, event.topic,
        rfc3339(row.opened_at) if row.opened_at else "", rfc3339(row.clicked_at) if row.clicked_at else "",
    )  # fmt: skip


def _status(event: Event) -> tuple[str, str]:
    status, reason = standing_of(event)
    return status.value, reason.value if reason is not None else ""


def rfc3339(ms: int) -> str:
    """As `format_time`, of many times of which some are of the same minute."""
    minute, rest = divmod(ms, 60_000)
    return f"{_minute(minute)}{_SECONDS[rest // 1000]}{_THOUSANDTHS[rest % 1000]}"


@lru_cache(maxsize=4096)
def _minute(minutes: int) -> str:
    return datetime.fromtimestamp(60 * minutes, UTC).strftime("%Y-%m-%dT%H:%M:")
