"""The rules at acceptance: they refuse messages, and end deliveries in the step that accepts them."""

from collections.abc import Callable, Sequence

import msgspec

from mta.admission.tenant_check import refusal_by_terms
from mta.model import endings
from mta.model.events import Event, EventType, recipient_event
from mta.model.ids import MessageId, delivery_id
from mta.model.mail import Addressed, NewMessage
from mta.model.outcomes import Class, Outcome, Stage
from mta.model.rules import Rule
from mta.policy.rule_effect import effect_of, ends, refusal_of, refuses, tenant_refusal
from mta.policy.rule_table import RuleTable
from mta.ports.queueing import UNDECIDED, AcceptanceDecision, DecidedBy, DeciderKind, EndedAtAcceptance, Rejected
from mta.ports.rules import Rules
from mta.timing.clock import wall_seconds

_encode = msgspec.msgpack.Encoder().encode


class AcceptanceRules:
    """Decides by the current rule table; a stale table decides nothing."""

    def __init__(
        self, rules: Rules, node: str, undo_window: float, *, clock: Callable[[], float] = wall_seconds
    ) -> None:
        """`node` is named in the events, `undo_window` is in seconds, `clock` gives Unix seconds."""
        self._rules = rules
        self._node = node
        self._undo_ms = int(undo_window * 1000)
        self._clock = clock

    def decide(self, messages: Sequence[NewMessage]) -> AcceptanceDecision:
        """The messages that the rules refuse, and the deliveries that they end at once.

        Node, sending IP and peer of the attempt are not known yet, so rules that select by these decide later. So do
        pauses and deferrals, unless a deferral refuses the message."""
        if not self._rules.is_fresh():
            return UNDECIDED
        table = self._rules.table
        generation = table.head.generation
        ended: dict[MessageId, list[EndedAtAcceptance]] = {}
        rejected: dict[MessageId, Rejected] = {}
        tenants = table.tenants
        if tenants or not table.is_empty:
            now = int(self._clock() * 1000)
            for message in messages:
                terms = tenants.get(message.tenant)
                reply = None if terms is None else refusal_by_terms(terms, message.sender, message.content)
                if terms is not None and reply is not None:
                    effect = tenant_refusal(terms, generation, reply)
                    rejected[message.id] = self._reject(message, terms, effect, now)
                    continue
                rules = _matched(table, message)
                refusing = [rule for rule in rules if rule is not None and refuses(rule)]
                if len(refusing) == len(rules):
                    effect = refusal_of(refusing[0], generation)
                    rejected[message.id] = self._reject(message, refusing[0], effect, now)
                elif intercepted := self._intercept(message, rules, generation, now):
                    ended[message.id] = intercepted
        return AcceptanceDecision(generation, ended, rejected)

    def _reject(self, message: NewMessage, rule: Rule, effect: Outcome, now: int) -> Rejected:
        """The refusal of the message by `rule`: the rule of its first recipient, or the terms of its tenant."""
        numbers = range(1, len(message.recipients) + 1)
        events = [self._event(EventType.REJECTION, message, number, effect, now) for number in numbers]
        by = DecidedBy(DeciderKind.RULE, rule.id)
        return Rejected(by, effect.reply, message.counted_tags, tuple(_encode(event) for event in events))

    def _intercept(
        self, message: NewMessage, rules: Sequence[Rule | None], generation: int, now: int
    ) -> list[EndedAtAcceptance]:
        found = []
        for number, rule in enumerate(rules, 1):
            if rule is not None and ends(rule):
                effect = effect_of(rule, generation, Stage.DOOR)
                event = self._event(EventType.INTERCEPTED, message, number, effect, now, message.accepted_at)
                common = endings.Common(
                    message.sender, message.tags, message.pool, message.tenant, "", "", effect.forced, effect.reply
                )
                final = endings.Final(
                    event.recipient, now, len(message.recipients), common=common, properties=message.properties,
                    seq=endings.ACCEPTED_AND_ENDED_SEQ,
                )  # fmt: skip
                spare_ms = self._undo_ms if effect.undoable else 0
                by = DecidedBy(DeciderKind.RULE, rule.id)
                found.append(EndedAtAcceptance(number, Class.INTERCEPTED, by, _encode(event), _encode(final), spare_ms))
        return found

    def _event(
        self, kind: EventType, message: NewMessage, number: int, effect: Outcome, now: int, queued_at: int = 0
    ) -> Event:
        delivery, recipient = delivery_id(message.id, number), message.recipients[number - 1]
        seq = 0 if kind is EventType.REJECTION else endings.ACCEPTED_AND_ENDED_SEQ
        return recipient_event(kind, now, self._node, delivery, message, recipient, effect, queued_at, seq=seq)


def _matched(table: RuleTable, message: NewMessage) -> list[Rule | None]:
    """The rule that decides about each recipient."""
    pool, labels = message.pool, message.labels
    if not table.asks_message:
        return [table.match(pool, "", domain, labels) for _, domain in message.recipients]
    sender, at = message.sender, message.accepted_at
    return [
        table.match(pool, "", domain, labels, "", "", Addressed(sender, address, at))
        for address, domain in message.recipients
    ]
