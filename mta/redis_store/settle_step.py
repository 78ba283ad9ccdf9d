"""The settle step as it is sent: what the deliveries of a batch have in common is said once."""

from collections.abc import Sequence
from typing import Any, Final

from mta.ports.queueing import Move, Settlement
from mta.redis_store import codec

_MOVES: Final = {Move.END: "e", Move.QUEUE: "q", Move.PARK: "p", Move.HOLD: "h"}
_LATE_HEAD: Final = 15  # bytes of a LateOutcome before its time: the array's length, the type
_WHOLE: Final = b"\xff"


def settle_args(session: str, retention_ms: int, changes: Sequence[Settlement]) -> list[bytes]:
    """The arguments in the order of settle.lua."""
    places: dict[Any, int] = {}
    tags: dict[tuple[str, ...], int] = {}
    numbers: dict[Any, int] = {}
    kinds: list[Any] = []
    rows: list[tuple[Any, ...]] = []
    text = codec.lua_text
    for change in changes:
        # What is decided alike. Members of an enum go by identity: to hash them would cost more than the rest.
        decided = (change.stage, change.generation, change.rule, change.uncertain, change.delivered_late,
                   change.deferred_by_rule, change.past_dot_of, change.left_rule, change.again, change.spare_ms,
                   bool(change.event))  # fmt: skip
        key = (id(change.move), id(change.ended), decided)
        number = numbers.get(key)
        if number is None:
            number = numbers[key] = len(numbers) + 1
            ended = change.ended.value if change.ended is not None else ""
            kinds.append((_MOVES[change.move], ended, *decided))
        place = (change.queue, change.token)
        rows.append(
            (
                text(change.id),
                places.setdefault(place, len(places) + 1),
                number,
                tags.setdefault(change.tags, len(tags) + 1),
                change.due_at,
                text(codec.encode_record(change.record, 0)) if change.record is not None else "",
                text(_late(change.event, change.late_event)),
                text(change.final),
            )
        )
    named = [(pool, domain, text(token)) for (pool, domain), token in places]
    blob = codec.encode((session, retention_ms, named, kinds, list(tags), *zip(*rows, strict=True)))
    return [blob, codec.framed([change.event for change in changes])]


def _late(event: bytes, late: bytes) -> bytes:
    """The late event, told by how it begins where the rest is that of the other one."""
    cut = _LATE_HEAD - len(late) + len(event)
    if 0 < cut < 255 and event.endswith(late[_LATE_HEAD:]):
        return b"%c%b" % (cut, late[:_LATE_HEAD])
    return _WHOLE + late if late else b""
