"""The accept step as it is sent: a batch of messages, and the decisions about them, as keys and arguments."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from mta.model.entries import framed
from mta.model.events import EventType, recipient_event
from mta.model.ids import DeliveryId, MessageId, delivery_id
from mta.model.mail import Claimed, NewMessage, QueueShare, Record, queue_share
from mta.model.placed_content import PlacedContent
from mta.model.shares import place_of
from mta.ports.idempotency import CallPart
from mta.ports.queueing import AcceptanceDecision, DeciderKind, EndedAtAcceptance
from mta.redis_store import codec, keys
from mta.redis_store.content import StoredContent

KEYS: Final = (b"lane", b"ingest", b"rec", b"content", b"refs", b"count", b"events", b"spares", b"pools", b"cancels")
_RECEPTION: Final = EventType.RECEPTION  # to look a member up at its class takes ten times as long
_NOBODY: Final[Mapping[int, EndedAtAcceptance]] = {}
_RULE: Final = DeciderKind.RULE


class Batch(NamedTuple):
    """The packed argument of the step: its fields in the order in which accept.lua reads them."""

    session: str
    number: int
    backlog_hard: int  # stream entries, 0 = no limit
    generation: int  # of the rules that were asked, -1 = none were
    queues: Sequence["Queue"]
    records: Sequence[Any]  # delivery, record, ...
    refs: Sequence[Any]  # message, deliveries that need its content, ...; absent = 1
    tags: Sequence[Any]  # tag, deliveries, ...
    accepted: int
    parts: Sequence[Any]  # keys of contents that were put there in pieces
    owners: Sequence[Any]  # of contents, where they have several recipients: message, recipients, ...
    decided: "Decided | tuple[()]"  # () = nothing was ended or refused
    once: Sequence["Call"]  # of idempotent calls


class Queue(NamedTuple):
    """The deliveries of one share of a queue."""

    place: str
    domain: str
    entries: Sequence[Any]  # due, delivery, ...
    take: int  # how many of the first are to be claimed


class Decided(NamedTuple):
    """The decisions about the batch."""

    retention_ms: int
    ended_now: Sequence["Ended"]
    rejected: Sequence["Refused"]


class Ended(NamedTuple):
    """A delivery that ends in the step that accepts it."""

    id: Any
    place: str
    domain: str
    class_: str
    kind: str  # of the decider
    decider: str
    tags: Sequence[str]
    final: Any
    spare_ms: int


class Refused(NamedTuple):
    """A message that is not accepted at all."""

    kind: str  # of the decider
    decider: str
    tags: Sequence[str]
    recipients: int


class Call(NamedTuple):
    """A part of an idempotent call."""

    name: Any
    content: Any
    first: Any
    begin: int
    messages: int
    total: int
    keep_ms: int
    mode: int
    note: Any
    differences: Any


class _Queue:
    """The deliveries for one share of a queue: first those that are due at once and may be claimed in the step."""

    __slots__ = ("due_now", "later", "now")

    def __init__(self) -> None:
        self.due_now: list[tuple[DeliveryId, Record, bytes | None]] = []  # with content, None = in pieces
        # When and id, when and id, ... as the step reads them: of those that are due now, and of the others.
        self.now: list[int | msgspec.Raw] = []
        self.later: list[int | msgspec.Raw] = []


class AcceptStep:
    """Gathers one batch of one lane; `keys` and `args` are what the step is called with then."""

    def __init__(
        self,
        prefix: bytes,
        node: str,
        content: StoredContent,
        decision: AcceptanceDecision,
        calls: Sequence[CallPart] = (),
    ) -> None:
        self._prefix = prefix
        self._calls = calls
        self._node = node
        self._content = content
        self._decision = decision
        self._decided = decision.ended
        self._accepted = 0
        self._queues: dict[QueueShare, _Queue] = {}
        self._records: list[msgspec.Raw] = []
        self._refs: list[msgspec.Raw | int] = []
        self._tags: dict[str, int] = {}
        self._events: list[bytes] = []
        self._owners: list[msgspec.Raw | int] = []
        self.contents: list[bytes] = []  # message, content, message, ...
        self._pending: list[bytes] = []
        self._ended: list[Ended] = []
        self._rules: set[str] = set()  # that ended something
        self._large: dict[MessageId, PlacedContent] = {}

    async def put_large(self, messages: Sequence[NewMessage]) -> None:
        """Put the large contents of the batch into the store, before `add`; they go by themselves should the step never
        run."""
        for message in [one for one in messages if len(one.content) >= codec.PIECE and one.placed is None]:
            if self._needed(message):
                self._large[message.id] = await self._content.put(message.id, message.content)

    def add(self, message: NewMessage) -> None:
        recipients, id_ = len(message.recipients), message.id
        needed, placed = self._needed(message) if self._decided else recipients, None
        if needed:
            placed = message.placed or self._content.whole(message.content) or self._large[id_]
            self.contents += (id_, placed.value)
            if recipients > 1:
                self._owners += (codec.lua_text(id_), recipients)
            if placed.pending or needed > 1:
                self._pending += placed.pending
                self._refs += (codec.lua_text(id_), needed)
        self._add_deliveries(message, placed)
        self._accepted += recipients
        tags = self._tags
        for tag in message.counted_tags if message.tenant else message.tags:
            tags[tag] = tags.get(tag, 0) + recipients

    def _needed(self, message: NewMessage) -> int:
        """How many of its deliveries need its content."""
        ended = self._decided.get(message.id, ())
        return len(message.recipients) - sum(not one.spare_ms for one in ended)

    def _add_deliveries(self, message: NewMessage, placed: PlacedContent | None) -> None:
        """`placed` is None where nobody needs the content, nor a record."""
        pool, at, due = message.pool, message.accepted_at, message.due_at
        share = message.share if message.tenant or message.priority else ""
        scheduled_at = due if due > at else 0
        ended = {one.number: one for one in self._decided.get(message.id, ())} if self._decided else _NOBODY
        text, new_record, encode = codec.lua_text, codec.new_record, codec.encode
        for number, recipient in enumerate(message.recipients, 1):
            address, domain = recipient
            delivery = delivery_id(message.id, number)
            name = text(delivery)
            end = ended.get(number) if ended else None
            if placed is not None and (end is None or end.spare_ms):
                record = _record(message, address, placed, scheduled_at)
                self._records += (name, new_record(record))
            event = recipient_event(_RECEPTION, at, self._node, delivery, message, recipient, None, 0, scheduled_at, 1)
            self._events.append(encode(event))
            if end is not None:
                self._end(message, name, domain, end)
                continue
            of = queue_share(pool, domain, share)
            queue = self._queues.get(of)
            if queue is None:
                queue = self._queues[of] = _Queue()
            if scheduled_at:
                queue.later += (due, name)
            else:
                content = None if placed is None or placed.pending else message.content
                queue.now += (due, name)
                queue.due_now.append((delivery, record, content))

    def claimed(self, number: int, taken: Sequence[int]) -> dict[QueueShare, list[Claimed]]:
        """The deliveries that batch `number` claimed. `taken`: how many of each queue, or () where none was."""
        if not taken:
            return {}
        token = b"a%d" % number
        return {
            of: [
                Claimed(id_, token, of.queue, record, content, share=of.share)
                for id_, record, content in queue.due_now[:count]
            ]
            for (of, queue), count in zip(self._queues.items(), taken, strict=True)
            if count
        }

    def _end(self, message: NewMessage, name: msgspec.Raw, domain: str, end: EndedAtAcceptance) -> None:
        kind, decider = end.by
        if kind is _RULE:
            self._rules.add(decider)
        self._events.append(end.event)
        final = codec.lua_text(end.final)
        self._ended.append(
            Ended(
                id=name,
                place=place_of(message.pool, message.share),
                domain=domain,
                class_=end.ended,
                kind=kind,
                decider=decider,
                tags=message.counted_tags,
                final=final,
                spare_ms=end.spare_ms,
            )
        )

    def args(
        self, session: str, number: int, backlog_hard: int, retention_ms: int, reserved: Mapping[QueueShare, int]
    ) -> list[bytes]:
        """`number` is the batch's; `retention_ms` is how long the final status of a delivery is kept; `reserved` is how
        many deliveries of a share of a queue the step may claim."""
        rejected = self._decision.rejected.values()
        events = [*self._events, *(event for one in rejected for event in one.events)]
        refused = [Refused(*one.by, tags=one.tags, recipients=len(one.events)) for one in rejected]
        queues = [
            Queue(place_of(of.queue.pool, of.share), of.queue.domain, queue.now + queue.later, reserved.get(of, 0))
            for of, queue in self._queues.items()
        ]
        blob = codec.encode(
            Batch(
                session=session,
                number=number,
                backlog_hard=backlog_hard,
                generation=self._decision.generation,
                queues=queues,
                records=self._records,
                refs=self._refs,
                tags=[item for pair in self._tags.items() for item in pair],
                accepted=self._accepted,
                parts=[codec.lua_text(key) for key in self._pending],
                owners=self._owners,
                decided=Decided(retention_ms, self._ended, refused) if self._ended or refused else (),
                once=[_call(part) for part in self._calls],
            )
        )
        return [blob, framed(events)]

    def keys(self, session: str) -> list[bytes]:
        """Every key that the step may write, as far as they are known before it runs."""
        prefix = self._prefix
        rejected = self._decision.rejected.values()
        tags = {*self._tags, *(tag for one in rejected for tag in one.tags)}
        rules = {*self._rules, *(one.by.id for one in rejected if one.by.kind is _RULE)}
        found = [prefix + name for name in KEYS]
        found += [keys.claimed_key(prefix, session.encode()), prefix + b"holders"]
        found += {key for of in self._queues for key in keys.queue_keys(prefix, *of)}
        found += [keys.tag_key(prefix, tag.encode()) for tag in tags]
        found += [keys.rule_key(prefix, rule.encode()) for rule in rules]
        found += [keys.spared_key(prefix, rule.encode()) for rule in self._rules]
        found += self._pending
        if self._calls:
            found.append(keys.idem_use_key(prefix))
            found += [keys.idem_key(prefix, part.key.name) for part in self._calls]
        return found


def _call(part: CallPart) -> Call:
    text = codec.lua_text
    return Call(
        name=text(part.key.name),
        content=text(part.key.content),
        first=text(part.first),
        begin=part.begin,
        messages=part.messages,
        total=part.total,
        keep_ms=part.keep_ms,
        mode=part.keep.value,
        note=text(part.note),
        differences=text(part.differences),
    )


def _record(message: NewMessage, address: str, placed: PlacedContent, scheduled_at: int) -> Record:
    return Record(  # by place: names take three times as long
        message.sender,
        address,
        message.tags,
        len(message.content),
        message.accepted_at,
        message.expires_at,
        message.needs_8bit,
        0,
        message.max_attempts,
        message.retries,
        message.client,
        None,
        False,
        placed.store,
        placed.key,
        message.properties,
        "",  # deferred_by
        message.tenant,
        0,  # held_at
        len(message.recipients),
        scheduled_at,
        0,  # unintelligible
        1,  # seq
        message.priority,
        None,  # known
        None,  # wish
        (),  # passed
        message.window,
        message.simulated,
        message.topic,
    )
