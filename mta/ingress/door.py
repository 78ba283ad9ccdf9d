"""The door: what the forced errors in force make of messages that were read and are about to be accepted."""

from collections.abc import Callable, Sequence

import msgspec

from mta.model.endings import Common, Final
from mta.model.events import Event, EventType
from mta.model.ids import MessageId, delivery_id
from mta.model.mail import NewMessage
from mta.model.outcomes import Forced, Origin, Reply, Stage
from mta.model.rules import AtTheDoor, Kind, Rule
from mta.policy.rule_table import RuleTable, ends
from mta.ports.queueing import NO_DOOR, Doorway, Interception, Rejected
from mta.ports.rules import Rules
from mta.timing.clock import wall_seconds

_SAID = "the message is refused by order of this site"  # where the rule has no words of its own

_encode = msgspec.msgpack.Encoder().encode


class Door:
    """Decides by the table as it is when asked; a stale table decides nothing."""

    def __init__(
        self, rules: Rules, node: str, undo_window: float, *, clock: Callable[[], float] = wall_seconds
    ) -> None:
        """`node` is named in the events, `undo_window` is in seconds, `clock` gives Unix seconds."""
        self._rules = rules
        self._node = node
        self._undo_ms = int(undo_window * 1000)
        self._clock = clock

    def ask(self, messages: Sequence[NewMessage]) -> Doorway:
        """Who is refused, and who is accepted and ended at once. Where, from which IP and to which peer a delivery will
        be attempted is not known yet: rules that ask for it decide later. So do pauses and deferrals, unless a deferral
        refuses the message."""
        if not self._rules.may_send_dot():
            return NO_DOOR
        table = self._rules.table
        generation = table.head.generation
        intercepted: dict[MessageId, list[Interception]] = {}
        rejected: dict[MessageId, Rejected] = {}
        if len(table):
            now = int(self._clock() * 1000)
            for message in messages:
                rules = _matched(table, message)
                refusing = [rule for rule in rules if rule is not None and _rejects(rule)]
                if len(refusing) == len(rules):
                    rejected[message.id] = self._reject(message, refusing[0], generation, now)
                elif ended := self._intercept(message, rules, generation, now):
                    intercepted[message.id] = ended
        return Doorway(generation, intercepted, rejected)

    def _reject(self, message: NewMessage, rule: Rule, generation: int, now: int) -> Rejected:
        """`rule`, that of the first recipient, answers for the message."""
        reply = Reply(rule.code, rule.extended or f"{rule.code // 100}.7.1", rule.description or _SAID)
        numbers = range(1, len(message.recipients) + 1)
        events = [self._event(EventType.REJECTION, message, number, rule, reply, generation, now) for number in numbers]
        return Rejected(rule.id, reply, message.tags, tuple(_encode(event) for event in events))

    def _intercept(
        self, message: NewMessage, rules: Sequence[Rule | None], generation: int, now: int
    ) -> list[Interception]:
        found = []
        for number, rule in enumerate(rules, 1):
            if rule is not None and ends(rule):
                reply = Reply(rule.code, rule.extended, rule.description)
                event = self._event(EventType.INTERCEPTED, message, number, rule, reply, generation, now)
                common = Common(message.sender, message.tags, message.pool, message.tenant, "", "", event.forced, reply)
                final = Final(
                    event.recipient, now, len(message.recipients), common=common, properties=message.properties
                )
                spare_ms = self._undo_ms if rule.undo else 0
                found.append(Interception(number, rule.id, _encode(event), _encode(final), spare_ms))
        return found

    def _event(
        self, kind: EventType, message: NewMessage, number: int, rule: Rule, reply: Reply, generation: int, now: int
    ) -> Event:
        address, domain = message.recipients[number - 1]
        return Event(
            kind,
            now,
            delivery_id(message.id, number),
            self._node,
            message.tags,
            message.pool,
            sender=message.sender,
            recipient=address,
            domain=domain,
            code=reply.code,
            enhanced=reply.enhanced,
            text=reply.text,
            origin=Origin.FORCED,
            reason=rule.reason,
            forced=Forced(rule.id, generation, Stage.DOOR),
            size=len(message.content),
            queued_at=message.accepted_at if kind is EventType.INTERCEPTED else 0,
            client=message.client,
            properties=message.properties,
            tenant=message.tenant,
        )


def _matched(table: RuleTable, message: NewMessage) -> list[Rule | None]:
    """The rule that decides about each recipient."""
    labels = message.labels
    return [table.match(message.pool, "", domain, labels) for _, domain in message.recipients]


def _rejects(rule: Rule) -> bool:
    """A rule that discards (2xx) has nothing to refuse with."""
    return rule.kind is Kind.ERROR and rule.at_the_door is AtTheDoor.REJECT and rule.code >= 400
