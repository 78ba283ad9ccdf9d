"""What a sweep makes of a delivery that waits: the decision, and the event and record that go with it."""

from collections.abc import Callable, Sequence

import msgspec

from mta.model.events import Event, EventType
from mta.model.mail import Final, Record
from mta.model.outcomes import Forced, Origin, Reply, Stage
from mta.model.rules import Rule
from mta.policy.rule_table import RuleTable, ends, still_holds, swept
from mta.ports.rules import Match, Queued, SweepMove

_encode = msgspec.msgpack.Encoder().encode

Decided = dict[SweepMove, list[Match]]


class Decider:
    """Decides by the table it is given; it has no state."""

    def __init__(self, node: str, undo_ms: int, wall: Callable[[], int]) -> None:
        """`node` is named in the events, `undo_ms` is rules.undo_window, `wall` gives Unix milliseconds."""
        self._node = node
        self._undo_ms = undo_ms
        self._wall = wall

    def decide(self, table: RuleTable, page: Sequence[Queued], pause: str = "") -> Decided:
        """What moves, by move; `pause`: it holds the deliveries of the page, "" = they are in queues. What a pause
        holds that is in force leaves it only to be ended."""
        now, generation = self._wall(), table.head.generation
        stays = still_holds(table.rule(pause), now)
        found: Decided = {}
        for queued in page:
            pool, domain = queued.queue
            rule = table.match(pool, "", domain, queued.record.labels)
            if rule is not None and not swept(rule):
                rule = None  # it decides at the attempt
            if rule is not None and ends(rule):
                found.setdefault(SweepMove.INTERCEPT, []).append(self._intercept(queued, rule, generation, now))
            elif stays:
                continue
            elif rule is not None:
                found.setdefault(SweepMove.HOLD, []).append(self._hold(queued, rule, generation, now))
            elif pause:
                found.setdefault(SweepMove.RELEASE, []).append(self._release(queued, now))
        return found

    def _intercept(self, queued: Queued, rule: Rule, generation: int, now: int) -> Match:
        record = queued.record
        reply = Reply(rule.code, rule.extended, rule.description)
        event = self._event(queued, EventType.INTERCEPTED, now, rule, generation, reply)
        return Match(
            queued.id,
            queued.queue,
            rule.id,
            record.tags,
            _encode(event),
            _uncertain(queued),
            record.deferred_by,
            final=_encode(Final(record.recipient, now, record.recipients, False, reply)),
            spare_ms=self._undo_ms if rule.undo else 0,
            raw=queued.raw,
        )

    def _hold(self, queued: Queued, rule: Rule, generation: int, now: int) -> Match:
        record = queued.record
        event = self._event(queued, EventType.HOLD, now, rule, generation)
        held: Record = msgspec.structs.replace(record, held_at=record.held_at or now, deferred_by="")
        return self._moved(queued, rule.id, event, held)

    def _release(self, queued: Queued, now: int) -> Match:
        """The time that it was held does not count towards its age."""
        record = queued.record
        spent = max(0, now - record.held_at) if record.held_at else 0
        free: Record = msgspec.structs.replace(record, held_at=0, expires_at=record.expires_at + spent)
        return self._moved(queued, "", self._event(queued, EventType.RELEASE, now), free)

    def _moved(self, queued: Queued, rule: str, event: Event, record: Record) -> Match:
        return Match(
            queued.id,
            queued.queue,
            rule,
            record.tags,
            _encode(event),
            _uncertain(queued),
            queued.record.deferred_by,
            record,
            queued.reclaims,
            raw=queued.raw,
        )

    def _event(
        self,
        queued: Queued,
        kind: EventType,
        now: int,
        rule: Rule | None = None,
        generation: int = 0,
        reply: Reply = Reply(0),  # noqa: B008 - immutable
    ) -> Event:
        # By place: that takes a third of the time that names do, and a sweep makes one of each delivery.
        record = queued.record
        pool, domain = queued.queue
        return Event(
            kind, now, queued.id, self._node, record.tags, pool, "", record.sender, record.recipient, domain,
            record.attempts, "", "", "", reply.code, reply.enhanced, reply.text,
            Origin.FORCED if rule is not None else Origin.LOCAL,
            "", rule.reason if rule is not None else "",
            Forced(rule.id, generation, Stage.QUEUED) if rule is not None else None,
            record.size, record.accepted_at, queued.due_at if kind is EventType.RELEASE else 0, None,
            record.client, record.properties, record.tenant,
        )  # fmt: skip


def _uncertain(queued: Queued) -> bool:
    return queued.record.uncertain or queued.reclaims > 0
