"""What a sweep makes of a delivery that waits: the decision, and the event and record that go with it."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec

from mta.model.endings import Commons, Final
from mta.model.events import Event, EventType
from mta.model.mail import Record
from mta.model.outcomes import Forced, Origin, Reply, Stage
from mta.model.rules import Rule
from mta.policy.rule_table import RuleTable, ends, still_holds, swept
from mta.ports.sweeps import PlannedMove, SweepMove, WaitingDelivery

# Members looked up at their class cost ten times as much.
_INTERCEPTED = EventType.INTERCEPTED
_RELEASE = EventType.RELEASE
_FORCED = Origin.FORCED
_LOCAL = Origin.LOCAL

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
        """What moves, by move; `pause`: it holds the deliveries of the page, "" = they are in queues. What a pause
        holds that is in force leaves it only to be ended."""
        now, generation = self._wall(), table.head.generation
        stays = still_holds(table.rule(pause), now)
        found: Decided = {}
        met: dict[str, _Met] = {}  # what is alike for all that a rule matches
        for queued in page:
            pool, domain = queued.queue
            rule = table.match(pool, "", domain, queued.record.labels)
            by = None
            if rule is not None:
                by = met.get(rule.id) or met.setdefault(rule.id, self._met(rule, generation))
            if by is not None and by.move is SweepMove.INTERCEPT:
                found.setdefault(by.move, []).append(self._intercept(queued, by, now))
            elif stays:
                continue
            elif by is not None and by.move is SweepMove.HOLD:
                found.setdefault(by.move, []).append(self._hold(queued, by, now))
            elif pause:
                found.setdefault(SweepMove.RELEASE, []).append(self._release(queued, now))
        return found

    def _met(self, rule: Rule, generation: int) -> "_Met":
        """What the rule does to waiting mail; nothing where it decides at the attempt."""
        if not swept(rule):
            return _NOTHING
        forced = Forced(rule.id, generation, Stage.QUEUED)
        if not ends(rule):
            return _Met(SweepMove.HOLD, rule.id, forced, rule.reason)
        reply = Reply(rule.code, rule.extended, rule.description)
        return _Met(SweepMove.INTERCEPT, rule.id, forced, rule.reason, reply, self._undo_ms if rule.undo else 0)

    def _intercept(self, queued: WaitingDelivery, by: "_Met", now: int) -> PlannedMove:
        record = queued.record
        doubt = record.uncertain or queued.reclaims > 0
        common, shared = self._commons.share(
            record.sender, record.tags, queued.queue.pool, record.tenant, "", "", by.forced, by.reply
        )
        final = Final(
            record.recipient, now, record.recipients, False, None, False, record.attempts, common, record.properties,
            doubt,
        )  # fmt: skip
        return PlannedMove(
            queued.id, queued.queue, by.rule, record.tags,
            _encode(self._event(queued, _INTERCEPTED, now, by)),
            doubt,
            record.deferred_by, None, 0,
            _encode(final), by.spare_ms, queued.raw, shared,
        )  # fmt: skip

    def _hold(self, queued: WaitingDelivery, by: "_Met", now: int) -> PlannedMove:
        record = queued.record
        event = self._event(queued, EventType.HOLD, now, by)
        held: Record = msgspec.structs.replace(record, held_at=record.held_at or now, deferred_by="")
        return self._moved(queued, by.rule, event, held)

    def _release(self, queued: WaitingDelivery, now: int) -> PlannedMove:
        """The time that it was held does not count towards its age."""
        record = queued.record
        spent = max(0, now - record.held_at) if record.held_at else 0
        free: Record = msgspec.structs.replace(record, held_at=0, expires_at=record.expires_at + spent)
        return self._moved(queued, "", self._event(queued, _RELEASE, now, _NOTHING), free)

    def _moved(self, queued: WaitingDelivery, rule: str, event: Event, record: Record) -> PlannedMove:
        return PlannedMove(
            queued.id,
            queued.queue,
            rule,
            record.tags,
            _encode(event),
            record.uncertain or queued.reclaims > 0,
            queued.record.deferred_by,
            record,
            queued.reclaims,
            raw=queued.raw,
        )

    def _event(self, queued: WaitingDelivery, kind: EventType, now: int, by: "_Met") -> Event:
        # By place: that takes a third of the time that names do, and a sweep makes one of each delivery.
        record, reply = queued.record, by.reply
        pool, domain = queued.queue
        return Event(
            kind, now, queued.id, self._node, record.tags, pool, "", record.sender, record.recipient, domain,
            record.attempts, "", "", "", reply.code, reply.enhanced, reply.text,
            _LOCAL if by.forced is None else _FORCED,
            "", by.reason, by.forced,
            record.size, record.accepted_at, queued.due_at if kind is _RELEASE else 0, None,
            record.client, record.properties, record.tenant, record.uncertain or queued.reclaims > 0,
        )  # fmt: skip


class _Met(NamedTuple):
    """What a rule makes of all waiting deliveries that it decides about."""

    move: SweepMove | None
    rule: str = ""
    forced: Forced | None = None
    reason: str = ""
    reply: Reply = Reply(0)
    spare_ms: int = 0


_NOTHING = _Met(None)
