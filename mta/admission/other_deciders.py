"""The deciders beside the rules, in turn: each may end deliveries that the rules and the deciders before it left."""

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from mta.model import endings
from mta.model.events import EventType, about_topic, recipient_event
from mta.model.ids import MessageId, delivery_id
from mta.model.mail import NewMessage
from mta.model.outcomes import Class, Origin, Outcome, Reply, Verdict
from mta.ports.admission import Decider, Ending, ReservingDecider, Undecided
from mta.ports.queueing import AcceptanceDecision, DecidedBy, DeciderKind, EndedAtAcceptance, Rejected
from mta.timing.clock import wall_seconds

Ends = Mapping[MessageId, Sequence[EndedAtAcceptance]]


class OthersDecision(NamedTuple):
    """The deliveries that they end of those that the rules left, and the messages that they refuse."""

    ended: Ends
    rejected: Mapping[MessageId, Rejected]

    def of(self, messages: Sequence[NewMessage]) -> "OthersDecision":
        """The part of it about these messages."""
        ids = {message.id for message in messages}
        ended = {id_: ends for id_, ends in self.ended.items() if id_ in ids}
        return OthersDecision(ended, {id_: one for id_, one in self.rejected.items() if id_ in ids})


NOTHING_DECIDED: Final = OthersDecision({}, {})

_EVENTS: Final = {Class.FILTERED: EventType.FILTERED, Class.THROTTLED: EventType.THROTTLED}

_encode = msgspec.msgpack.Encoder().encode


class OtherDeciders:
    """Asks each decider that is on, in their order."""

    def __init__(
        self, deciders: Sequence[Decider] = (), node: str = "", *, clock: Callable[[], float] = wall_seconds
    ) -> None:
        """`node` is named in the events, `clock` gives Unix seconds."""
        self._deciders = tuple(deciders)
        self._reserving = [decider for decider in deciders if isinstance(decider, ReservingDecider)]
        self._node = node
        self._clock = clock

    @property
    def are_on(self) -> bool:
        return any(decider.is_on for decider in self._deciders)

    async def decide(self, messages: Sequence[NewMessage], by_rules: AcceptanceDecision) -> OthersDecision:
        """Raises StoreError: no decider has reserved anything then."""
        if not self.are_on:
            return NOTHING_DECIDED
        found: dict[MessageId, list[EndedAtAcceptance]] = {}
        rejected: dict[MessageId, Rejected] = {}
        now = int(self._clock() * 1000)
        for decider in self._deciders:
            if not decider.is_on:
                continue
            mail = list(_left(messages, by_rules, found, rejected))
            by_id = {one.message.id: one.message for one in mail}
            for id_, decided in (await self._asked(decider, mail, messages)).items():
                if isinstance(decided, Reply):
                    # It may come again at any time, so nothing is recorded.
                    rejected[id_] = Rejected(DecidedBy(DeciderKind.QUOTA, by_id[id_].tenant), decided, (), ())
                else:
                    found.setdefault(id_, []).extend(self._ended(by_id[id_], end, now) for end in decided)
        return OthersDecision(found, rejected)

    async def _asked(
        self, decider: Decider, mail: Sequence[Undecided], messages: Sequence[NewMessage]
    ) -> Mapping[MessageId, Sequence[Ending] | Reply]:
        try:
            return await decider.decide(mail)
        except BaseException:
            self.finish(messages, None)
            raise

    def finish(self, messages: Sequence[NewMessage], refused: Container[MessageId] | None) -> None:
        """These messages were accepted, or may have been, without those that were refused; None: without any."""
        for decider in self._reserving:
            if not decider.has_reserved:
                continue
            lost = [message.id for message in messages if refused is None or message.id in refused]
            decider.finished(lost, accepted=False)
            decider.finished([message.id for message in messages], accepted=True)

    async def close(self) -> None:
        for decider in self._reserving:
            await decider.close()

    def _ended(self, message: NewMessage, end: Ending, now: int) -> EndedAtAcceptance:
        recipient = message.recipients[end.number - 1]
        outcome = Outcome(Verdict.CANCELED, Reply(0, end.enhanced), Origin.LOCAL, reason=end.reason)
        event = about_topic(
            recipient_event(
                _EVENTS[end.ended], now, self._node, delivery_id(message.id, end.number), message, recipient, outcome,
                message.accepted_at, seq=endings.ACCEPTED_AND_ENDED_SEQ,
            ),
            end.topic,
        )  # fmt: skip
        final = endings.Final(
            recipient.address, now, len(message.recipients),
            common=endings.Common(message.sender, message.tags, message.pool, message.tenant),
            properties=message.properties, seq=endings.ACCEPTED_AND_ENDED_SEQ,
        )  # fmt: skip
        if end.ended is Class.FILTERED:
            final = endings.filtered(final, end.reason, end.topic)
        return EndedAtAcceptance(end.number, end.ended, end.by, _encode(event), _encode(final), 0)


def joined(by_rules: AcceptanceDecision, by_others: OthersDecision) -> AcceptanceDecision:
    """Both together. The rules may have decided anew meanwhile: they win."""
    if by_others is NOTHING_DECIDED:
        return by_rules
    ended = dict(by_rules.ended)
    for id_, ends in by_others.ended.items():
        if id_ not in by_rules.rejected:
            over = {one.number for one in ended.get(id_, ())}
            ended[id_] = [*ended.get(id_, ()), *(one for one in ends if one.number not in over)]
    return by_rules._replace(ended=ended, rejected={**by_others.rejected, **by_rules.rejected})


def not_rejected(messages: Sequence[NewMessage], decision: AcceptanceDecision) -> Sequence[NewMessage]:
    """Those that the store is to accept."""
    rejected = decision.rejected
    return [message for message in messages if message.id not in rejected] if rejected else messages


def _left(
    messages: Sequence[NewMessage],
    by_rules: AcceptanceDecision,
    by_others: Ends,
    rejected: Mapping[MessageId, Rejected],
) -> Iterator[Undecided]:
    for message in messages:
        id_, numbers = message.id, range(1, len(message.recipients) + 1)
        if id_ in by_rules.rejected or id_ in rejected:
            continue
        over = {one.number for ends in (by_rules.ended, by_others) for one in ends.get(id_, ())}
        left = [number for number in numbers if number not in over] if over else numbers
        if left:
            yield Undecided(message, left)
