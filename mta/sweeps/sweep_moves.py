"""The moves of a sweep: which waiting delivery is intercepted, held or released, with its new record and its event."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec

from mta.model.endings import Commons, Final
from mta.model.events import Event, EventType, delivery_event
from mta.model.mail import Record
from mta.model.outcomes import NO_ATTEMPT, Outcome, Stage, Verdict
from mta.model.rules import Rule
from mta.policy.rule_effect import effect_of, is_counting, still_holds, swept
from mta.policy.rule_index import passing
from mta.policy.rule_table import RuleTable
from mta.ports.sweeps import PlannedMove, SweepMove, WaitingDelivery

_INTERCEPTED = EventType.INTERCEPTED

_encode = msgspec.msgpack.Encoder().encode

Decided = dict[SweepMove, list[PlannedMove]]


class Decider:
    """Decides by the table it is given; it has no state."""

    def __init__(self, node: str, undo_ms: int, wall: Callable[[], int]) -> None:
        """`node` is named in the events, `undo_ms` is rules.undo_window, `wall` gives Unix milliseconds."""
        self._node = node
        self._undo_ms = undo_ms
        self._wall = wall
        self._commons = Commons()

    def decide(self, table: RuleTable, page: Sequence[WaitingDelivery], pause: str = "") -> Decided:
        """The deliveries that move, by move; `pause` holds the deliveries of the page, "" = they are in queues. Mail
        leaves a pause that is in force only to be intercepted, or to be counted by an order with a bound."""
        now, generation = self._wall(), table.head.generation
        stays = still_holds(table.rule(pause), now)
        found: Decided = {}
        made: dict[str, _Decision] = {}  # by rule
        for waiting in page:
            pool, domain = waiting.queue
            rule = table.match(pool, "", domain, waiting.record.labels, "", "", waiting.record)
            by = None
            if rule is not None:
                by = made.get(rule.id) or made.setdefault(rule.id, self._decision(rule, generation))
            if by is not None and by.move is SweepMove.INTERCEPT:
                found.setdefault(by.move, []).append(self._intercept(waiting, by, now))
            elif by is not None and by.rule == pause:
                continue  # its schedule may be on since a moment
            elif stays and not (by is not None and by.takes and by.rule != pause):
                continue
            elif by is not None and by.move is SweepMove.HOLD:
                found.setdefault(by.move, []).append(self._hold(waiting, by, now))
            elif pause:
                found.setdefault(SweepMove.RELEASE, []).append(self._release(waiting, now))
        return found

    def let_go(self, table: RuleTable, page: Sequence[WaitingDelivery], pause: Rule) -> Decided:
        """The moves of deliveries that the pause holds and is ordered to let go. Another rule may end or hold them."""
        now, generation, mark = self._wall(), table.head.generation, passing(pause)
        found: Decided = {}
        for held in page:
            free: Record = msgspec.structs.replace(held.record, passed=(*held.record.passed, mark))
            rule = table.match(held.queue.pool, "", held.queue.domain, free.labels, "", "", free)
            by = _NOTHING if rule is None else self._decision(rule, generation)
            if by.move is SweepMove.INTERCEPT:
                found.setdefault(by.move, []).append(self._intercept(held, by, now))
            elif by.move is SweepMove.HOLD:
                found.setdefault(by.move, []).append(self._hold(held, by, now))
            else:
                found.setdefault(SweepMove.RELEASE, []).append(self._release(held, now, free.passed))
        return found

    def _decision(self, rule: Rule, generation: int) -> "_Decision":
        """No move where the rule decides at the attempt."""
        if not swept(rule):
            return _NOTHING
        effect = effect_of(rule, generation, Stage.QUEUED)
        if effect.verdict is Verdict.HELD:
            return _Decision(SweepMove.HOLD, rule.id, effect, takes=is_counting(rule))
        return _Decision(SweepMove.INTERCEPT, rule.id, effect, self._undo_ms if effect.undoable else 0)

    def _intercept(self, waiting: WaitingDelivery, by: "_Decision", now: int) -> PlannedMove:
        record = waiting.record
        doubt = record.uncertain or waiting.reclaims > 0
        common, shared = self._commons.share(
            record.sender, record.tags, waiting.queue.pool, record.tenant, "", "", by.effect.forced, by.effect.reply
        )
        final = Final(
            record.recipient, now, record.recipients, False, None, False, record.attempts, common, record.properties,
            None, doubt, record.seq + 1,
        )  # fmt: skip
        return PlannedMove(
            waiting.id, waiting.queue, by.rule, record.counted_tags,
            _encode(self._event(waiting, _INTERCEPTED, now, by.effect)),
            doubt,
            record.deferred_by, None, 0,
            _encode(final), by.spare_ms, waiting.raw, shared, waiting.share,
        )  # fmt: skip

    def _hold(self, waiting: WaitingDelivery, by: "_Decision", now: int) -> PlannedMove:
        record = waiting.record
        event = self._event(waiting, EventType.HOLD, now, by.effect)
        held: Record = msgspec.structs.replace(
            record, held_at=record.held_at or now, deferred_by="", seq=record.seq + 1
        )
        return self._moved(waiting, by.rule, event, held)

    def _release(self, waiting: WaitingDelivery, now: int, passed: tuple[str, ...] | None = None) -> PlannedMove:
        """The time that it was held does not count towards its age. `passed`: the pauses that let it go."""
        record = waiting.record
        spent = max(0, now - record.held_at) if record.held_at else 0
        free: Record = msgspec.structs.replace(
            record,
            held_at=0,
            expires_at=record.expires_at + spent,
            seq=record.seq + 1,
            passed=record.passed if passed is None else passed,
        )
        event = self._event(waiting, EventType.RELEASE, now, NO_ATTEMPT, waiting.due_at)
        return self._moved(waiting, "", event, free)

    def _moved(self, waiting: WaitingDelivery, rule: str, event: Event, record: Record) -> PlannedMove:
        return PlannedMove(
            waiting.id,
            waiting.queue,
            rule,
            record.counted_tags,
            _encode(event),
            record.uncertain or waiting.reclaims > 0,
            waiting.record.deferred_by,
            record,
            waiting.reclaims,
            raw=waiting.raw,
            share=waiting.share,
        )

    def _event(self, waiting: WaitingDelivery, kind: EventType, now: int, effect: Outcome, due_at: int = 0) -> Event:
        id_, queue, _, record, reclaims, _, _ = waiting
        return delivery_event(
            kind, now, self._node, id_, queue, record, effect, record.attempts,
            next_attempt=due_at, uncertain=record.uncertain or reclaims > 0,
        )  # fmt: skip


class _Decision(NamedTuple):
    """The action of a sweep on every waiting delivery that the rule wins."""

    move: SweepMove | None
    rule: str = ""
    effect: Outcome = NO_ATTEMPT
    spare_ms: int = 0
    takes: bool = False  # it takes mail from pauses


_NOTHING = _Decision(None)
