"""The settlement of a delivery, decided from its outcome: class or next attempt, new record, and event."""

from collections.abc import Callable

import msgspec

from mta.model.endings import Commons, Final, Shared, filtered, short
from mta.model.events import BY_MX, EventType, about_topic, delivery_event, ordered
from mta.model.mail import Claimed, QueueKey, Record
from mta.model.outcomes import EXPIRED, NO_ATTEMPT, Class, Origin, Outcome, Reply, ReturnReason, Verdict
from mta.model.replies import OUR_DECISION, Fault, Known
from mta.model.settings import DeliverySettings
from mta.model.suppressions import Suppressed
from mta.policy.failures import ending_reply, ends_delivery
from mta.policy.retry import ip_wish, next_attempt
from mta.policy.sending_window import opens_at
from mta.policy.shaping import Plan, Shaping
from mta.ports.queueing import Move, Settlement

_encode = msgspec.msgpack.Encoder().encode
# To look a member up at its class takes ten times as long.
_IS_DELIVERED, _DELIVERY, _DELIVERED, _END = Verdict.DELIVERED, EventType.DELIVERY, Class.DELIVERED, Move.END

_EXPIRED = Known("expired", Fault.PEER)  # of a delivery whose last reply is not known
_NOWHERE = ("5.1.", "5.4.")  # RFC 3463 3.2, 3.5: addressing and routing


class Terms(msgspec.Struct, frozen=True):
    """The facts that a decision needs besides the delivery and the outcome."""

    node: str
    delivery: DeliverySettings
    shaping: Shaping
    undo_ms: int = 0  # rules.undo_window
    commons: Commons = Commons()
    site_of: Callable[[str], str | None] = lambda domain: None

    def plan(self, queue: QueueKey) -> Plan:
        return self.shaping.plan(queue, self.site_of(queue.domain) or "")


def decide(claimed: Claimed, outcome: Outcome, now: int, terms: Terms, chance: float) -> Settlement:
    """The settlement of one attempt that ended at `now` (Unix ms); `chance` in [0, 1) spreads the next one."""
    verdict = outcome.verdict
    if verdict is _IS_DELIVERED:
        return delivered(claimed, outcome, now, terms)
    if verdict is Verdict.TEMPORARY:
        if outcome.unintelligible and ends_delivery(claimed.record.unintelligible + 1):
            last = msgspec.structs.replace(outcome, verdict=Verdict.PERMANENT, reply=ending_reply(outcome.reply))
            return _end(claimed, last, now, terms, EventType.BOUNCE, Class.BOUNCED)
        attempts = _attempts(claimed, outcome)
        due_at = next_attempt(claimed.record, attempts, now, terms.plan(claimed.queue), chance, outcome)
        if due_at is None and outcome.simulated:
            return _end(claimed, outcome, now, terms, EventType.SIMULATED, Class.SIMULATED)
        if due_at is None:
            if outcome.known is None:
                outcome = msgspec.structs.replace(outcome, known=_EXPIRED)
            return _end(claimed, outcome, now, terms, EventType.EXPIRATION, Class.EXPIRED)
        return _retry(claimed, outcome, now, terms, due_at)
    if verdict is Verdict.PERMANENT:
        return _end(claimed, outcome, now, terms, EventType.BOUNCE, Class.BOUNCED)
    if verdict is Verdict.INTERCEPTED:
        return _end(claimed, outcome, now, terms, EventType.INTERCEPTED, Class.INTERCEPTED)
    if verdict is Verdict.HELD:
        return _hold(claimed, outcome, now, terms)
    if verdict is Verdict.FILTERED:
        return _end(claimed, outcome, now, terms, EventType.FILTERED, Class.FILTERED)
    if verdict is Verdict.CANCELED:
        return _end(claimed, outcome, now, terms, EventType.CANCELLATION, Class.CANCELED)
    if verdict is Verdict.SIMULATED:
        return _end(claimed, outcome, now, terms, EventType.SIMULATED, Class.SIMULATED)
    return _return(claimed, outcome, now)


def park(claimed: Claimed, now: int, terms: Terms, reason: str) -> Settlement:
    """Park a delivery that Floodgate itself fails to process: it stays visible."""
    record, uncertain = claimed.record, _uncertain(claimed, False)
    changed: Record | None = None
    if record.recipient:  # a record that cannot be read stays as it is
        changed = msgspec.structs.replace(record, uncertain=uncertain, seq=record.seq + 1)
    event = delivery_event(
        EventType.PARKED, now, terms.node, claimed.id, claimed.queue, record, NO_ATTEMPT, record.attempts,
        reason=reason, uncertain=uncertain,
    )  # fmt: skip
    return Settlement(
        claimed.id, claimed.token, claimed.queue, Move.PARK, record.counted_tags, _encode(event), b"",
        record=changed, uncertain=uncertain, left_rule=record.deferred_by, share=claimed.share,
    )  # fmt: skip


def expire(claimed: Claimed, now: int, terms: Terms) -> Settlement:
    """End a delivery whose time was over before an attempt began; the last reply is kept."""
    record, uncertain = claimed.record, _uncertain(claimed, False)
    known = _EXPIRED if record.known is None else Known(*record.known)
    outcome = msgspec.structs.replace(NO_ATTEMPT, reply=record.last or NO_ATTEMPT.reply, known=known)
    final, shared = _final(claimed, outcome, now, terms, record.attempts)
    event = delivery_event(
        EventType.EXPIRATION, now, terms.node, claimed.id, claimed.queue, record, outcome, record.attempts,
        enhanced=EXPIRED, uncertain=uncertain,
    )  # fmt: skip
    return Settlement(
        claimed.id, claimed.token, claimed.queue, Move.END, record.counted_tags, _encode(event), b"",
        ended=Class.EXPIRED, uncertain=uncertain, left_rule=record.deferred_by,
        final=final, shared=shared, share=claimed.share,
    )  # fmt: skip


def escaped(claimed: Claimed, now: int, terms: Terms, mta: str, mx: str, remote_ip: str) -> bytes:
    """The encoded event of a dot that was written while its permit ran out."""
    record = claimed.record
    outcome = msgspec.structs.replace(NO_ATTEMPT, mta=mta, mx=mx, remote_ip=remote_ip, reason=_ESCAPE)
    event = delivery_event(
        EventType.ESCAPED, now, terms.node, claimed.id, claimed.queue, record, outcome, record.attempts + 1,
        uncertain=_uncertain(claimed, False), changes=0,
    )  # fmt: skip
    return _encode(event)


def canceled_outcome(by: str, before: Outcome | None = None) -> Outcome:
    """The end of a delivery that `by` cancels; `before` is what an attempt had come to meanwhile."""
    return msgspec.structs.replace(
        NO_ATTEMPT if before is None else before,
        verdict=Verdict.CANCELED,
        reply=Reply(0),
        origin=Origin.LOCAL,
        forced=None,
        reason="canceled",
        by=by,
        known=OUR_DECISION,
    )


def filtered_outcome(by: Suppressed) -> Outcome:
    """The end of a delivery whose recipient is suppressed: no attempt begins."""
    reply = Reply(0, by.value.extended)
    return msgspec.structs.replace(
        NO_ATTEMPT, verdict=Verdict.FILTERED, reply=reply, reason=by.value.reason.value, topic=by.key.topic
    )


def returned_outcome(reason: ReturnReason) -> Outcome:
    """The delivery goes back to its queue as it was: no attempt began."""
    return Outcome(Verdict.RETURNED, Reply(0), Origin.LOCAL, reason=reason.words, returned=reason)


_ESCAPE = "the permit ran out while the final dot was being written"


def _told(outcome: Outcome) -> tuple[str, str] | None:
    """Category and fault as a record keeps them."""
    return None if outcome.known is None else outcome.known[:2]


def _attempts(claimed: Claimed, outcome: Outcome) -> int:
    """The attempts of the delivery so far, with this one."""
    return claimed.record.attempts + (not outcome.untried)


def _uncertain(claimed: Claimed, lost_reply: bool) -> bool:
    """Whether the recipient may have it although nobody read a reply that says so."""
    return lost_reply or claimed.record.uncertain or claimed.reclaims > 0


def delivered(claimed: Claimed, outcome: Outcome, now: int, terms: Terms) -> Settlement:
    """The remote took it: no rule decided, and no doubt is left."""
    record, queue = claimed.record, claimed.queue
    attempts = record.attempts + 1
    common, shared = terms.commons.share(record.sender, record.tags, queue.pool, record.tenant, outcome.mta, outcome.mx)
    route = outcome.route or BY_MX
    final = Final(
        record.recipient, now, record.recipients, route != BY_MX, None, False, attempts, common, record.properties,
        None, False, record.seq + 1,
    )  # fmt: skip
    event = delivery_event(_DELIVERY, now, terms.node, claimed.id, queue, record, outcome, attempts, route=route)
    return Settlement(
        claimed.id, claimed.token, queue, _END, record.counted_tags, _encode(event), None, _DELIVERED,
        delivered_late=True, past_dot_of=outcome.past_dot_of, left_rule=record.deferred_by,
        final=_encode(final), shared=shared, share=claimed.share,
    )  # fmt: skip


def _end(claimed: Claimed, outcome: Outcome, now: int, terms: Terms, kind: EventType, ended: Class) -> Settlement:
    """It ends, and is not delivered."""
    record, forced, verdict = claimed.record, outcome.forced, outcome.verdict
    intercepted = verdict is Verdict.INTERCEPTED
    attempts = _attempts(claimed, outcome)
    if (intercepted or verdict is Verdict.CANCELED or verdict is Verdict.FILTERED) and not outcome.mta:
        attempts = record.attempts  # no attempt began
    enhanced = EXPIRED if kind is EventType.EXPIRATION else None
    # If the claim was lost, the late event keeps the facts that only this process has: the remote's reply, or that the
    # remote may have accepted the message.
    late = None if outcome.origin is Origin.REMOTE or outcome.uncertain else b""
    final, shared = _final(claimed, outcome, now, terms, attempts)
    uncertain = _uncertain(claimed, outcome.uncertain)
    event = delivery_event(
        kind, now, terms.node, claimed.id, claimed.queue, record, outcome, attempts,
        enhanced=enhanced, uncertain=uncertain,
    )  # fmt: skip
    if outcome.by:
        event = ordered(event, outcome.by)
    elif outcome.topic:
        event = about_topic(event, outcome.topic)
    return Settlement(
        claimed.id,
        claimed.token,
        claimed.queue,
        _END,
        record.counted_tags,
        _encode(event),
        late,
        ended,
        forced.stage or "" if forced is not None and intercepted else "",
        generation=forced.generation if forced is not None else -1,
        # A deferral that used up the delivery's time is no interception: the books of the rule say "other".
        rule=forced.rule if forced is not None and intercepted else "",
        uncertain=uncertain,
        past_dot_of=outcome.past_dot_of,
        left_rule=record.deferred_by,
        final=final,
        shared=shared,
        spare_ms=terms.undo_ms if intercepted and outcome.undoable else 0,
        share=claimed.share,
    )


def _hold(claimed: Claimed, outcome: Outcome, now: int, terms: Terms) -> Settlement:
    """Held by a pause; no attempt is counted. A delivery that was never attempted keeps its place in the order of due
    times."""
    record, forced = claimed.record, outcome.forced
    assert forced is not None  # only a pause holds
    uncertain = _uncertain(claimed, outcome.uncertain)
    event = delivery_event(
        EventType.HOLD, now, terms.node, claimed.id, claimed.queue, record, outcome, record.attempts,
        uncertain=uncertain,
    )  # fmt: skip
    return Settlement(
        claimed.id,
        claimed.token,
        claimed.queue,
        Move.HOLD,
        record.counted_tags,
        _encode(event),
        b"",
        due_at=now if record.attempts else min(now, record.scheduled_at or record.accepted_at),
        record=msgspec.structs.replace(record, held_at=now, deferred_by="", uncertain=uncertain, seq=record.seq + 1),
        generation=forced.generation,
        rule=forced.rule,
        past_dot_of=outcome.past_dot_of,
        left_rule=record.deferred_by,
        share=claimed.share,
    )


def _final(claimed: Claimed, outcome: Outcome, now: int, terms: Terms, attempts: int) -> tuple[bytes, Shared | None]:
    """The encoded Final of a delivery that is not delivered, and what must be kept beside it."""
    record, forced, reply = claimed.record, outcome.forced, outcome.reply
    own = of_rule = None
    if forced is not None:
        of_rule = reply
    elif reply.code:
        own = short(reply)
    common, shared = terms.commons.share(
        record.sender, record.tags, claimed.queue.pool, record.tenant, outcome.mta, outcome.mx, forced, of_rule
    )
    unroutable = outcome.origin is Origin.LOCAL and reply.enhanced.startswith(_NOWHERE)
    doubt = _uncertain(claimed, outcome.uncertain)
    final = Final(
        record.recipient, now, record.recipients, False, own, unroutable, attempts, common, record.properties,
        _told(outcome), doubt, record.seq + 1,
    )  # fmt: skip
    if outcome.verdict is Verdict.FILTERED:
        final = filtered(final, outcome.reason, outcome.topic)
    return _encode(final), shared


def _retry(claimed: Claimed, outcome: Outcome, now: int, terms: Terms, due_at: int) -> Settlement:
    record, forced = claimed.record, outcome.forced
    attempts = _attempts(claimed, outcome)
    uncertain = _uncertain(claimed, outcome.uncertain)
    event = delivery_event(
        EventType.TRANSIENT_FAILURE, now, terms.node, claimed.id, claimed.queue, record, outcome, attempts,
        next_attempt=due_at, uncertain=uncertain,
    )  # fmt: skip
    late = b""
    if outcome.origin is Origin.REMOTE or outcome.uncertain:
        late = _encode(msgspec.structs.replace(event, type=EventType.LATE_OUTCOME, next_attempt=0))
    rule = forced.rule if forced is not None else ""
    changed: Record = msgspec.structs.replace(
        record,
        attempts=attempts,
        last=short(outcome.reply),
        known=_told(outcome),
        wish=ip_wish(record.wish, outcome, terms.delivery.same_ip_retries),
        uncertain=uncertain,
        deferred_by=rule or record.deferred_by,
        unintelligible=record.unintelligible + outcome.unintelligible,
        seq=record.seq + 1,
    )
    return Settlement(
        claimed.id,
        claimed.token,
        claimed.queue,
        Move.QUEUE,
        record.counted_tags,
        _encode(event),
        late,
        due_at=due_at,
        record=changed,
        generation=forced.generation if forced is not None else -1,
        rule=rule,
        past_dot_of=outcome.past_dot_of,
        deferred_by_rule=forced is not None,
        left_rule=record.deferred_by,
        share=claimed.share,
    )


def _return(claimed: Claimed, outcome: Outcome, now: int) -> Settlement:
    """Back to the queue as it was: no attempt, no event; only a doubt is kept. Where the window of the message is
    closed, it is due when it opens."""
    record = claimed.record
    doubt = outcome.uncertain and not record.uncertain
    return Settlement(
        claimed.id,
        claimed.token,
        claimed.queue,
        Move.QUEUE,
        record.counted_tags,
        b"",
        b"",
        due_at=now if record.window is None else opens_at(record.window, now),
        record=msgspec.structs.replace(record, uncertain=True, seq=record.seq + 1) if doubt else None,
        past_dot_of=outcome.past_dot_of,
        left_rule=record.deferred_by,
        share=claimed.share,
    )
