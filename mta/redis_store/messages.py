"""One message in its lane: its deliveries found, and ended where they wait."""

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple, TypeVar

import msgspec

from mta.model import endings
from mta.model.errors import BadValue
from mta.model.ids import MAX_RECIPIENTS, DeliveryId, MessageId, delivery_id, lane_of
from mta.model.mail import QueueKey, Record
from mta.model.outcomes import Class
from mta.model.shares import place_of, split_place
from mta.policy.routing import queue_domain
from mta.ports.messages import EndAnswer, FoundDelivery, Place, PlannedEnd
from mta.redis_store import codec, keys
from mta.redis_store.link import Link
from mta.redis_store.steps import messages as cancel
from mta.timing.clock import wall_seconds

_IN_ONE_STEP: Final = 100  # deliveries
_MOST_FIELDS: Final = 3000  # that one step may look up
_HOUR: Final = 3600

_ENDED: Final = {
    "d": Class.DELIVERED,
    "b": Class.BOUNCED,
    "e": Class.EXPIRED,
    "i": Class.INTERCEPTED,
    "c": Class.CANCELED,
    "f": Class.FILTERED,
    "t": Class.THROTTLED,
    "s": Class.SIMULATED,
}
_PLACES: Final = {place.value: place for place in Place}
_ANSWERS: Final = {
    b"C": EndAnswer.ENDED,
    b"A": EndAnswer.WORKER_ASKED,
    b"S": EndAnswer.COPY_DROPPED,
    b"M": EndAnswer.MOVED,
}
_CANCEL_KEYS = (b"lane", b"rec", b"content", b"refs", b"count", b"events", b"cancels", b"parked", b"pauses", b"spares")
_Item = TypeVar("_Item")

_final_decoder = msgspec.msgpack.Decoder(endings.FilteredFinal)
_common_decoder = msgspec.msgpack.Decoder(endings.Common)


class _Stored(NamedTuple):
    """The fields that the store has of one delivery."""

    id: DeliveryId
    raw: bytes = b""  # its record as it is kept, b"" = none
    record: Record | None = None
    reclaims: int = 0
    status: tuple[str, ...] = ()  # the fields of its final status, () = it lives
    final: endings.Final | None = None

    def found(self, common: Mapping[bytes, endings.Common]) -> FoundDelivery:
        """As the port gives it, without its place; `common` by digest."""
        ended = _ENDED[self.status[0]] if self.status else None
        return FoundDelivery(
            self.id, self.raw, self.record, ended, self._is_uncertain(), self.final, _common(self.final, common),
            queue=QueueKey("", self._domain()), share=self.record.share if self.record is not None else "",
        )  # fmt: skip

    def _is_uncertain(self) -> bool:
        if self.status:
            if self.status[0] in "ic":
                return (self.status[0] == "i" and self.status[2] == "1") or self.status == ("c", "1")
            return self.final is not None and self.final.uncertain
        return self.record is not None and (self.record.uncertain or self.reclaims > 0)

    def _domain(self) -> str:
        known = self.final or self.record
        try:
            return queue_domain(known.recipient.rpartition("@")[2]) if known is not None else ""
        except BadValue:
            return ""


class StoredMessages:
    """Fulfils ports.messages.MessageStore."""

    def __init__(self, link: Link, lanes: int, retention: float) -> None:
        self._link = link
        self._lanes = lanes
        self._retention = retention

    async def find(self, message: MessageId, last: int, only: int = 0) -> list[FoundDelivery]:
        if lane_of(message) >= self._lanes:
            return []
        prefix = keys.lane_prefix(lane_of(message))
        ended = self._ended_keys(message, prefix)
        step_keys = [prefix + b"lane", prefix + b"rec", *ended]
        stored = await (self._read_some(message, [only], step_keys) if only else self._read(message, last, step_keys))
        common = await self._read_common(stored, ended)
        found = {one.id: one.found(common) for one in stored}
        kept = [one for one in stored if one.record is not None]
        for some in _slices(kept, _IN_ONE_STEP):
            args: list[bytes | str | int] = []
            for one in some:
                stage, uncertain, rule = one.status[1:] if one.status[:1] == ("i",) else ("", "", "")
                seen = found[one.id]
                args += (one.id, seen.queue.domain, rule, stage, uncertain, seen.share)
            answers = await self._link.call(b"message_places", [prefix + b"lane"], args)
            for one, answer in zip(some, answers, strict=True):
                found[one.id] = _placed(found[one.id], one.status, answer)
        return list(found.values())

    async def _read(self, message: MessageId, last: int, step_keys: Sequence[bytes]) -> list[_Stored]:
        """As many recipients as it has; up to number `last` where nothing says how many these are."""
        refs = keys.lane_key(lane_of(message), b"refs")
        at_once = max(1, min(_IN_ONE_STEP, _MOST_FIELDS // len(step_keys)))
        stored: list[_Stored] = []
        first = 1
        while first <= min(last, MAX_RECIPIENTS):
            numbers = range(first, min(first + at_once, MAX_RECIPIENTS + 1))
            stored += await self._read_some(message, numbers, step_keys)
            first += len(numbers)
            if stored:
                last = max(one.found({}).recipients for one in stored)
            elif first > last and await self._link.command("HEXISTS", refs, message):
                last += _IN_ONE_STEP  # something lives beyond
        return stored

    async def _read_some(self, message: MessageId, numbers: Sequence[int], step_keys: Sequence[bytes]) -> list[_Stored]:
        ids = [delivery_id(message, number) for number in numbers]
        answer = await self._link.call(b"message_read", step_keys, ids)
        return [_stored(*answer[at : at + 3]) for at in range(0, len(answer), 3)]

    async def _read_common(self, stored: Sequence[_Stored], ended: Sequence[bytes]) -> dict[bytes, endings.Common]:
        """The common parts that the final statuses of these deliveries name by a digest."""
        named = {one.final.common for one in stored if one.final is not None and isinstance(one.final.common, bytes)}
        known: dict[bytes, endings.Common] = {}
        for key in ended:
            missing = sorted(named - known.keys())
            if not missing:
                break
            for digest, raw in zip(missing, await self._link.command("HMGET", key, *missing), strict=True):
                if raw is not None:
                    known[digest] = _common_decoder.decode(raw)
        return known

    def _ended_keys(self, message: MessageId, prefix: bytes) -> list[bytes]:
        """From now back to when the message came, an hour more each way: clocks differ."""
        now, came = wall_seconds(), int.from_bytes(message[:6], "big") / 1000
        oldest = max(came, now - self._retention - _HOUR)
        hours = range(int(now // _HOUR) + 1, int(oldest // _HOUR) - 2, -1)
        return [keys.ended_key(prefix, hour) for hour in hours]

    async def tell_workers(self, canceled: MessageId | DeliveryId, author: str) -> None:
        await self._link.call(b"rules_cancel", [keys.RULES_HEAD, keys.RULES_CANCELS], [canceled, author])

    async def end(
        self, lane: int, ended: Class, now: int, ends: Sequence[PlannedEnd], author: str = ""
    ) -> list[EndAnswer]:
        prefix, text = keys.lane_prefix(lane), codec.lua_text
        found: list[EndAnswer] = []
        for some in _slices(ends, _IN_ONE_STEP):
            names: set[bytes] = set()
            items = []
            for one in some:
                names.update(_touched(prefix, one))
                items.append(
                    cancel.Item(
                        id=text(one.id),
                        kind=one.place.value,
                        place=place_of(one.queue.pool, one.share),
                        domain=one.queue.domain,
                        source=one.source,
                        record=text(one.raw),
                        tags=one.tags,
                        event=text(one.event),
                        final=text(one.final),
                        stage=one.stage,
                        uncertain=one.uncertain,
                        left_rule=one.left_rule,
                    )
                )
            batch = cancel.Batch(now, author, int(self._retention * 1000), ended.value, items)
            step_keys = [prefix + name for name in _CANCEL_KEYS] + sorted(names)
            answers = await self._link.call(b"cancel", step_keys, [codec.encode(batch)])
            found += [_ANSWERS[answer] for answer in answers]
        return found


def _slices(items: Sequence[_Item], size: int) -> Iterable[Sequence[_Item]]:
    return (items[at : at + size] for at in range(0, len(items), size))


def _stored(id_: bytes, raw: bytes | None, ended: bytes | None) -> _Stored:
    delivery, record, reclaims, final = DeliveryId(id_), None, 0, None
    if raw:
        with contextlib.suppress(*codec.UNREADABLE):  # it is parked when it is claimed
            reclaims, record = codec.decode_record(raw)
    if ended is None:
        return _Stored(delivery, raw or b"", record, reclaims)
    status, _, rest = ended.partition(b"\0")
    with contextlib.suppress(msgspec.DecodeError):  # of a version that kept nothing but the status
        final = _final_decoder.decode(rest)
    fields = tuple(status.decode().split(":", 3))
    return _Stored(delivery, raw or b"", record, reclaims, fields, final)


def _common(final: endings.Final | None, known: Mapping[bytes, endings.Common]) -> endings.Common | None:
    if final is None or final.common is None:
        return None
    return known.get(final.common) if isinstance(final.common, bytes) else final.common


def _placed(found: FoundDelivery, status: Sequence[str], answer: Sequence[bytes]) -> FoundDelivery:
    """With the place that message_places has found; kind is "" where it has found none."""
    kind, name, source, due, asked = answer
    pool, share = split_place(name.decode())
    place = _PLACES.get(kind.decode())
    return found._replace(
        place=place,
        queue=QueueKey(pool, found.queue.domain),
        share=share,
        source=source.decode(),
        stage=status[1] if place is Place.SPARED else "",
        due_at=int(float(due)),
        asked_at=int(asked),
    )


def _touched(prefix: bytes, end: PlannedEnd) -> list[bytes]:
    """The keys of one item that are not every message's."""
    source = end.source.encode()
    if end.place is Place.CLAIMED:
        return [keys.claimed_key(prefix, source)]
    if end.place is Place.SPARED:
        return [keys.spared_key(prefix, source)]
    names = [keys.tag_key(prefix, tag.encode()) for tag in end.tags]
    rules = [end.left_rule.encode()] if end.left_rule else []
    if end.place is Place.DUE:
        names += keys.queue_keys(prefix, end.queue, end.share)
    elif end.place is Place.HELD:
        names.append(keys.held_key(prefix, source))
        rules.append(source)
    return names + [keys.rule_key(prefix, rule) for rule in rules]
