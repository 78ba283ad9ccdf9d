"""The effect of a rule on a delivery that it matches, for every stage of the delivery."""

from typing import Final

import msgspec

from mta.model.outcomes import Forced, Origin, Outcome, Reply, Stage, Verdict
from mta.model.replies import OUR_DECISION
from mta.model.rules import AtTheDoor, BoundState, Kind, Rule
from mta.policy.schedule import UTC, Period, schedule_of

_FORCED: Final = Origin.FORCED  # to look a member up at its class takes ten times as long
_REFUSED: Final = "the message is refused by order of this site"  # for a rule without a description


def effect_of(
    rule: Rule,
    generation: int,
    stage: Stage,
    *,
    mta: str = "",
    mx: str = "",
    remote_ip: str = "",
    tls: str = "",
    duration_ms: int = 0,
) -> Outcome:
    """The outcome of a delivery that the rule matched. A pause holds it; a forced error intercepts it with 5xx or 2xx,
    and defers it with 4xx as a remote 4xx would. `mta` and the arguments behind it describe an attempt that had
    begun."""
    return Outcome(
        _verdict_of(rule),
        Reply(rule.code, rule.extended, rule.description),
        _FORCED,
        mta,
        mx,
        remote_ip,
        tls,
        duration_ms,
        Forced(rule.id, generation, stage, rule.changed_by or rule.created_by),
        reason=rule.reason,
        undoable=rule.undo,
        known=OUR_DECISION,
    )


def overruled(before: Outcome, rule: Rule, generation: int, stage: Stage) -> Outcome:
    """The outcome of a delivery that the rule matches after its attempt ended with `before`. The facts of the attempt
    stay."""
    effect = effect_of(rule, generation, stage)
    return msgspec.structs.replace(
        before,
        verdict=effect.verdict,
        reply=effect.reply,
        origin=effect.origin,
        forced=effect.forced,
        reason=effect.reason,
        undoable=effect.undoable,
        known=effect.known,
    )


def refusal_of(rule: Rule, generation: int) -> Outcome:
    """The outcome of a message that the rule refuses at end of data. The reply always has an enhanced code and
    words."""
    reply = Reply(rule.code, rule.extended or f"{rule.code // 100}.7.1", rule.description or _REFUSED)
    return msgspec.structs.replace(effect_of(rule, generation, Stage.DOOR), reply=reply)


def tenant_refusal(rule: Rule, generation: int, reply: Reply) -> Outcome:
    """The outcome of a message that the terms of its tenant refuse at end of data."""
    return msgspec.structs.replace(effect_of(rule, generation, Stage.DOOR), verdict=Verdict.INTERCEPTED, reply=reply)


def refuses(rule: Rule) -> bool:
    """Whether matching mail is refused at end of data. A rule that discards (2xx) has nothing to refuse with."""
    return rule.kind is Kind.ERROR and rule.at_the_door is AtTheDoor.REJECT and rule.code >= 400


def ends(rule: Rule) -> bool:
    """Whether the rule ends a delivery (5xx, 2xx); a 4xx only defers it, a pause holds it."""
    return rule.kind is Kind.ERROR and not 400 <= rule.code < 500


def holds(rule: Rule) -> bool:
    """Whether the rule is a pause, or suspends a tenant."""
    return rule.kind is not Kind.ERROR


def is_counting(rule: Rule) -> bool:
    """Whether the rule is the hold of an order with a bound whose mail is not counted yet."""
    return rule.bound is not None and rule.bound.state is BoundState.COUNTING and rule.kind is Kind.PAUSE


def _verdict_of(rule: Rule) -> Verdict:
    if rule.kind is not Kind.ERROR:
        return Verdict.HELD
    return Verdict.TEMPORARY if 400 <= rule.code < 500 else Verdict.INTERCEPTED


def in_force(rule: Rule, now: int) -> bool:
    """Whether the rule matches anything at `now` (Unix ms): it is enabled, has not expired, and its schedule is on."""
    return rule.enabled and is_on(rule, now)


def is_active(rule: Rule, now: int) -> bool:
    """Whether the rule matches at `now` (Unix ms) or will by itself: it is enabled and has not expired."""
    return rule.enabled and (not rule.expires_at or now < rule.expires_at)


def is_on(rule: Rule, now: int) -> bool:
    """Whether `now` (Unix ms) is one of the times at which the rule, if enabled, matches."""
    if rule.expires_at and now >= rule.expires_at:
        return False
    return on_since(rule, now) is not None


def on_since(rule: Rule, now: int) -> int | None:
    """When the period of the rule's schedule began that is on at `now` (both Unix ms); 0 = it has no schedule, None =
    it is off."""
    if rule.selectors.schedule is None:
        return 0
    period = _period(rule, now)
    return period.begin if period.on else None


def off_until(rule: Rule, now: int) -> int | None:
    """When the rule's schedule is on again (both Unix ms); None = it is on, or there is none."""
    if rule.selectors.schedule is None:
        return None
    period = _period(rule, now)
    return None if period.on else period.end


def _period(rule: Rule, now: int) -> Period:
    chosen = rule.selectors
    return schedule_of(chosen.schedule or "", chosen.timezone or UTC).period(now)


def still_holds(rule: Rule | None, now: int) -> bool:
    """Whether deliveries that this rule held stay held: it exists, is still a pause, and is in force."""
    return rule is not None and holds(rule) and in_force(rule, now)


def needs_attempt(rule: Rule) -> bool:
    """Whether only an attempt tells if a delivery matches: the rule depends on the node, the sending IP or the peer."""
    chosen = rule.selectors
    return not chosen.cluster or any(known is not None for known in (chosen.mta, chosen.ip, chosen.mx))


def before_attempt(rule: Rule) -> Rule:
    """The rule without the selectors that only an attempt knows, in force for all nodes: it matches every delivery that
    `rule` may match at its next attempt."""
    chosen = msgspec.structs.replace(rule.selectors, mta=None, ip=None, mx=None, cluster=True, node=None)
    return msgspec.structs.replace(rule, selectors=chosen, enabled=True, expires_at=0)


def swept(rule: Rule) -> bool:
    """Whether the rule can end or hold queued deliveries before any attempt."""
    return (ends(rule) or holds(rule)) and rule.enabled and not needs_attempt(rule)
