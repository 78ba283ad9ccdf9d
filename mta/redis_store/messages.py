"""One message in its lane: read with all its deliveries, and canceled."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final, NamedTuple, TypeVar

import msgspec

from mta.model import endings
from mta.model.actor import Actor
from mta.model.errors import BadValue, OutcomeUnknown, StoreAway
from mta.model.events import EventType, event_about
from mta.model.ids import MAX_RECIPIENTS, DeliveryId, MessageId, delivery_id, lane_of, message_text
from mta.model.mail import QueueKey, Record
from mta.model.outcomes import EXPIRED, Class, Origin
from mta.policy.routing import queue_domain
from mta.ports.messages import Standing
from mta.ports.rules import Queued
from mta.redis_store import codec, keys
from mta.redis_store.certainty import made_certain
from mta.redis_store.link import Link
from mta.timing.clock import wall_ms, wall_seconds

log = logging.getLogger(__name__)

_PROBED: Final = 100  # recipients that are looked for where nothing says how many there are; most of one step
_MOST_FIELDS: Final = 3000  # that one step may look up
_HOUR: Final = 3600
_TRIES: Final = 50  # of a delivery that moves whenever it was looked at
_LOOK: Final = (0.01, 0.05)  # seconds between looks at what workers hold: at first, at most

_KINDS = {"due": Class.QUEUED, "claimed": Class.QUEUED, "held": Class.HELD, "parked": Class.PARKED}
_ENDED = {
    "d": Class.DELIVERED,
    "b": Class.BOUNCED,
    "e": Class.EXPIRED,
    "i": Class.INTERCEPTED,
    "c": Class.CANCELED,
}
_CANCEL_KEYS = (b"lane", b"rec", b"content", b"refs", b"count", b"events", b"cancels", b"parked", b"pauses", b"spares")
_Item = TypeVar("_Item")

_final_decoder = msgspec.msgpack.Decoder(endings.Final)
_common_decoder = msgspec.msgpack.Decoder(endings.Common)


class _Found(NamedTuple):
    """What is written of one delivery."""

    id: DeliveryId
    raw: bytes = b""  # its record as it is kept, b"" = none
    record: Record | None = None
    reclaims: int = 0
    status: tuple[str, ...] = ()  # the fields of its final status, () = it lives
    final: endings.Final | None = None
    common: endings.Common | None = None  # what its Final names or holds
    at: str = ""  # the domain of its queue, where that is known

    @property
    def uncertain(self) -> bool:
        """Whether it may have reached the recipient although no reply says so."""
        if self.status:
            if self.status[0] in "ic":
                return (self.status[0] == "i" and self.status[2] == "1") or self.status == ("c", "1")
            return self.final is not None and self.final.uncertain
        return self.record is not None and (self.record.uncertain or self.reclaims > 0)

    @property
    def recipients(self) -> int:
        """Of its message."""
        told = self.final or self.record
        return max(told.recipients if told is not None else 1, int.from_bytes(self.id[16:], "big"))

    @property
    def domain(self) -> str:
        if self.at:
            return self.at
        told = self.final or self.record
        try:
            return queue_domain(told.recipient.rpartition("@")[2]) if told is not None else ""
        except BadValue:
            return ""


class _Place(NamedTuple):
    """Where a delivery with a record is, see message_places."""

    kind: str = ""
    pool: str = ""
    source: str = ""
    due_at: int = 0
    asked_at: int = 0


class StoredMessages:
    """Fulfils ports.messages.Messages."""

    def __init__(self, link: Link, lanes: int, retention: float, node: str) -> None:
        self._link = link
        self._lanes = lanes
        self._retention = retention
        self._node = node

    async def show(self, message: MessageId) -> list[Standing]:
        return await self._show(message, _PROBED)

    async def _show(self, message: MessageId, last: int) -> list[Standing]:
        for _ in range(_TRIES):
            seen = await self._look(message, last)
            if all(found.status or place.kind or found.record is None for found, place in seen):
                break
        return [_standing(found, place) for found, place in seen]

    async def cancel(self, message: MessageId, actor: Actor, wait: float) -> list[Standing]:
        log.debug("message %s: its cancellation is ordered by %s", message_text(message), actor)
        deadline, pause, moved, last = time.monotonic() + wait, _LOOK[0], 0, _PROBED
        limit = self._link.timeout
        while True:
            seen = await self._look(message, last)
            last = max([last, *(found.recipients for found, _ in seen)])

            ask, again = partial(self._cancel_once, message, seen), partial(self._cancel_again, message, last)
            answers = await made_certain(ask, again, limit)
            if b"M" in answers:
                moved += 1
                if moved > _TRIES:
                    raise StoreAway("the message moves too fast: try again")
                await asyncio.sleep(_LOOK[0])
            elif b"A" not in answers or time.monotonic() + pause > deadline:
                return await self._show_canceled(message, last, limit)
            else:
                await asyncio.sleep(pause)
                pause = min(pause * 1.5, _LOOK[1])

    async def _cancel_again(self, message: MessageId, last: int) -> list[bytes]:
        return await self._cancel_once(message, await self._look(message, last))

    async def _show_canceled(self, message: MessageId, last: int, limit: float) -> list[Standing]:
        """Raises OutcomeUnknown: to say that the store is away would deny what was done."""
        show = partial(self._show, message, last)
        try:
            return await made_certain(show, show, limit)
        except StoreAway as away:
            raise OutcomeUnknown(str(away)) from away

    # Reading

    async def _look(self, message: MessageId, last: int) -> list[tuple[_Found, _Place]]:
        """Every delivery that is known, and where it is: two steps, so it may have moved between them."""
        found = await self._read(message, last)
        places: dict[DeliveryId, _Place] = {}
        kept = [one for one in found if one.record is not None]
        for some in _slices(kept, _PROBED):
            args: list[bytes | str | int] = []
            for one in some:
                stage, uncertain, rule = one.status[1:] if one.status[:1] == ("i",) else ("", "", "")
                args += (one.id, one.domain, rule, stage, uncertain)
            anchor = keys.lane_key(lane_of(message), b"lane")
            answers = await self._link.call(b"message_places", [anchor], args)
            for one, (kind, pool, source, due, asked) in zip(some, answers, strict=True):
                where = kind.decode(), pool.decode(), source.decode()
                places[one.id] = _Place(*where, int(float(due)), int(asked))
        return [(one, places.get(one.id, _Place())) for one in found]

    async def _read(self, message: MessageId, last: int) -> list[_Found]:
        """As many recipients as it has; up to number `last` where nothing says how many these are."""
        if lane_of(message) >= self._lanes:
            return []
        prefix = keys.lane_prefix(lane_of(message))
        step_keys = [prefix + b"lane", prefix + b"rec", *self._ended_keys(message, prefix)]
        at_once = max(1, min(_PROBED, _MOST_FIELDS // len(step_keys)))
        found: list[_Found] = []
        first = 1
        while first <= min(last, MAX_RECIPIENTS):
            numbers = range(first, min(first + at_once, MAX_RECIPIENTS + 1))
            ids = [delivery_id(message, number) for number in numbers]
            answer = await self._link.call(b"message_read", step_keys, ids)
            found += [_found(*answer[at : at + 3]) for at in range(0, len(answer), 3)]
            first += len(ids)
            if found:
                last = max(one.recipients for one in found)
            elif first > last and await self._link.command("HEXISTS", prefix + b"refs", message):
                last += _PROBED  # something lives beyond
        return await self._with_common(found, step_keys[2:])

    async def _with_common(self, found: Sequence[_Found], ended: Sequence[bytes]) -> list[_Found]:
        """With what their final statuses name by a digest."""
        named = {one.final.common for one in found if one.final is not None and isinstance(one.final.common, bytes)}
        known: dict[bytes, endings.Common] = {}
        for key in ended:
            missing = sorted(named - known.keys())
            if not missing:
                break
            for digest, raw in zip(missing, await self._link.command("HMGET", key, *missing), strict=True):
                if raw is not None:
                    known[digest] = _common_decoder.decode(raw)
        return [one._replace(common=_common(one.final, known)) for one in found]

    def _ended_keys(self, message: MessageId, prefix: bytes) -> list[bytes]:
        """From now back to when the message came, an hour more each way: clocks differ."""
        now, came = wall_seconds(), int.from_bytes(message[:6], "big") / 1000
        oldest = max(came, now - self._retention - _HOUR)
        hours = range(int(now // _HOUR) + 1, int(oldest // _HOUR) - 2, -1)
        return [keys.ended_key(prefix, hour) for hour in hours]

    # Canceling

    async def _cancel_once(self, message: MessageId, seen: Sequence[tuple[_Found, _Place]]) -> list[bytes]:
        """The steps for what was seen; the answers for what is not at rest."""
        lane, now = lane_of(message), wall_ms()
        answers = [b"M" for found, place in seen if not found.status and not place.kind and found.record is not None]
        waiting = [(found, place) for found, place in seen if place.kind]
        if any(place.kind == "claimed" and not place.asked_at for _, place in waiting):
            # First: who is told too early loses nothing, and a mark means that whoever held it then has been told.
            await self._link.call(b"rules_cancel", [keys.RULES_HEAD, keys.RULES_CANCELS], [message])
            now = wall_ms()
        for some in _slices(waiting, _PROBED):
            prefix = keys.lane_prefix(lane)
            names: set[bytes] = set()
            items = []
            for found, place in some:
                names.update(_touched(prefix, found, place))
                items.append(_item(found, place, _Ending(self._node, now)))
            blob = codec.encode((now, int(self._retention * 1000), Class.CANCELED.value, items))
            step_keys = [prefix + name for name in _CANCEL_KEYS] + sorted(names)
            answers += await self._link.call(b"cancel", step_keys, [blob])
        return answers

    async def expire(self, lane: int, over: Sequence[Queued], reason: str) -> int:
        """Fulfils ports.unserved.Expiry."""
        prefix, now, count = keys.lane_prefix(lane), wall_ms(), 0
        ending = _Ending(self._node, now, EventType.EXPIRATION, EXPIRED, reason)
        for some in _slices(over, _PROBED):
            names: set[bytes] = set()
            items = []
            for queued in some:
                place = _Place("due", queued.queue.pool, due_at=queued.due_at)
                found = _Found(queued.id, queued.raw, queued.record, queued.reclaims, at=queued.queue.domain)
                names.update(_touched(prefix, found, place))
                items.append(_item(found, place, ending))
            blob = codec.encode((now, int(self._retention * 1000), Class.EXPIRED.value, items))
            step_keys = [prefix + name for name in _CANCEL_KEYS] + sorted(names)
            answers = await self._link.call(b"cancel", step_keys, [blob])
            count += answers.count(b"C")
        return count


class _Ending(NamedTuple):
    """How a delivery that waits is ended, and by which node."""

    node: str
    at: int
    event: EventType = EventType.CANCELLATION
    enhanced: str = ""
    reason: str = "canceled"


def _slices(items: Sequence[_Item], size: int) -> Iterable[Sequence[_Item]]:
    return (items[at : at + size] for at in range(0, len(items), size))


def _found(id_: bytes, raw: bytes | None, ended: bytes | None) -> _Found:
    delivery, record, reclaims, final = DeliveryId(id_), None, 0, None
    if raw:
        with contextlib.suppress(*codec.UNREADABLE):  # it is parked when it is claimed
            reclaims, record = codec.decode_record(raw)
    if ended is None:
        return _Found(delivery, raw or b"", record, reclaims)
    status, _, rest = ended.partition(b"\0")
    with contextlib.suppress(msgspec.DecodeError):  # of a version that kept nothing but the status
        final = _final_decoder.decode(rest)
    fields = tuple(status.decode().split(":", 3))
    return _Found(delivery, raw or b"", record, reclaims, fields, final)


def _common(final: endings.Final | None, known: Mapping[bytes, endings.Common]) -> endings.Common | None:
    if final is None or final.common is None:
        return None
    return known.get(final.common) if isinstance(final.common, bytes) else final.common


def _standing(found: _Found, place: _Place) -> Standing:
    if found.status:
        known = found.status[0] != "d"
        return Standing(
            found.id,
            _ENDED[found.status[0]],
            None,
            found.final,
            uncertain=found.uncertain if known else None,
            common=found.common,
        )
    return Standing(
        found.id,
        _KINDS.get(place.kind, Class.QUEUED if found.record is not None else Class.PARKED),
        found.record,
        None,
        place.due_at if place.kind == "due" else 0,
        place.asked_at,
        found.uncertain,
        place.pool,
    )


def _touched(prefix: bytes, found: _Found, place: _Place) -> list[bytes]:
    """The keys of one item that are not every message's."""
    pool, domain, source = place.pool.encode(), found.domain.encode(), place.source.encode()
    if place.kind == "claimed":
        return [keys.claimed_key(prefix, source)]
    if place.kind == "spared":
        return [keys.spared_key(prefix, source)]
    record = found.record
    names = [keys.tag_key(prefix, tag.encode()) for tag in record.tags] if record is not None else []
    rules = [record.deferred_by.encode()] if record is not None and record.deferred_by else []
    if place.kind == "due":
        names += (keys.due_key(prefix, pool, domain), keys.agenda_key(prefix, pool))
    elif place.kind == "held":
        names.append(keys.held_key(prefix, source))
        rules.append(source)
    return names + [keys.rule_key(prefix, rule) for rule in rules]


def _ended(record: Record, pool: str, now: int, uncertain: bool) -> endings.Final:
    """What is kept of a delivery that waited and is ended where it was."""
    common = endings.Common(record.sender, record.tags, pool, record.tenant)
    return endings.Final(
        record.recipient,
        now,
        record.recipients,
        reply=record.last,
        attempts=record.attempts,
        common=common,
        properties=record.properties,
        uncertain=uncertain,
    )


def _item(found: _Found, place: _Place, ending: _Ending) -> tuple[Any, ...]:
    text, record = codec.lua_text, found.record
    stage = found.status[1] if place.kind == "spared" else ""
    tags: tuple[str, ...] = ()
    event = final = b""
    left_rule = ""
    if record is not None and place.kind in ("due", "held", "parked"):
        tags, left_rule = record.tags, record.deferred_by
        queue = QueueKey(place.pool, found.domain)
        event = codec.encode(
            event_about(
                ending.event,
                ending.at,
                found.id,
                ending.node,
                queue,
                record,
                origin=Origin.LOCAL,
                enhanced=ending.enhanced,
                reason=ending.reason,
                uncertain=found.uncertain,
            )
        )
        final = codec.encode(_ended(record, place.pool, ending.at, found.uncertain))
    return (
        text(found.id),
        place.kind,
        place.pool,
        found.domain,
        place.source,
        text(found.raw),
        tags,
        text(event),
        text(final),
        stage,
        found.uncertain,
        left_rule,
    )
