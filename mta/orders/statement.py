"""Statements from counters: the account of a tag's deliveries, and of the deliveries that a rule met."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from msgspec import UNSET, UnsetType

from mta.model.mail import tenants_tag
from mta.model.outcomes import Class, Stage
from mta.model.rules import Rule, Selectors
from mta.model.statements import Intercepted, RuleDelivered, RuleStatement, SweepProgress, TagStatement, selectors_shown
from mta.model.sweeps import SweepPhase, SweepState
from mta.model.units import format_time
from mta.policy.rule_effect import in_force, needs_attempt
from mta.policy.sweep_end import is_over, needs_sweep
from mta.ports.orders import Effect

Counts = Mapping[str, int]

_BESIDE: Final = ("deferred", "held", "other", "undone")  # classes of a rule's account beside intercepted and delivered
_PLAIN: Final = [name for name in Class if name is not Class.INTERCEPTED]


def tag_statement(
    tag: str,
    counts: Counts,
    rules: Sequence[str],
    as_of: int,
    tracked: bool = True,
    nearest: Sequence[str] = (),
) -> TagStatement:
    """`counts` as `Books.tag` gives them; `rules` are the ids of those that select the tag; `as_of` in Unix ms;
    `nearest` are tags that one which is not tracked may stand for."""
    intercepted = _intercepted(counts)
    classes = {name.value: counts.get(name.value, 0) for name in _PLAIN}
    return TagStatement(
        as_of=format_time(as_of),
        tag=tag,
        accepted=counts.get("accepted", 0),
        intercepted=intercepted,
        rejected=counts.get("rejected", 0),
        deferred_by_rule=counts.get("deferred_by_rule", 0),
        undone=counts.get("undone", 0),
        uncertain=counts.get("uncertain", 0),
        rules=tuple(rules),
        balanced=counts.get("accepted", 0) == sum(classes.values()) + _sum(intercepted),
        tracked=tracked,
        nearest=UNSET if tracked else tuple(nearest),
        **classes,
    )


def rule_statement(
    effect: Effect,
    counts: Counts,
    tag_counts: Counts | None,
    sweep: SweepState | None,
    as_of: int,
    undoable: int = 0,
    removed_at: int = 0,
    undo_until: int = 0,
) -> RuleStatement:
    """`counts`, `tag_counts`, `undoable` and `undo_until` as `Books.account` gives them; `tag_counts` are those of the
    tag, for a rule that selects by one tag. `sweep` is read before them.

    "met" is counted when the rule first meets a delivery, its end is counted apart from that, so that the two can
    disagree. `queued` are the deliveries of the tag that the rule has still to meet; for other rules their number is
    not known. A rule that is disabled, has expired, or was removed (at `removed_at`, Unix ms) meets no more.
    """
    rule = effect.rule
    of_tag = tag_counts if only_tag(rule.selectors) is not None else None
    intercepted = _intercepted(counts)
    met, after = counts.get("met", 0), counts.get("after", 0)
    deferred, held, other, undone = (counts.get(name, 0) for name in _BESIDE)
    acts = in_force(rule, as_of) and not removed_at
    queued = max(0, of_tag.get("queued", 0) - deferred) if of_tag is not None and acts else 0
    is_swept = removed_at > 0 or is_over(rule, sweep, as_of)
    return RuleStatement(
        as_of=format_time(as_of),
        rule=rule.id,
        generation=rule.generation,
        effective_at=_when(effect.effective_at if effect.effective else 0),
        quiet_at=_when(effect.quiet_at),
        matched=met + queued,
        intercepted=intercepted,
        delivered=_delivered(of_tag, after),
        deferred=deferred,
        queued=queued,
        held=held,
        other=other,
        undone=undone,
        uncertain=counts.get("uncertain", 0),
        undoable=undoable,
        undo_until=_when(undo_until) or UNSET,
        sweep=_progress(rule, sweep, as_of, removed_at),
        balanced=met == _sum(intercepted) + after + deferred + held + other + undone if is_swept else None,
        accepted=UNSET if of_tag is None else of_tag.get("accepted", 0),
        removed_at=_when(removed_at) or UNSET,
        **_completeness(effect, held, is_swept, acts, removed_at),
        **_identity(rule),
    )


def _completeness(effect: Effect, held: int, is_swept: bool, acts: bool, removed_at: int) -> dict[str, Any]:
    """Whether the account is final but for mail that comes later, and why it is not. None: nobody can know it, since
    waiting mail meets the rule at its attempts only."""
    why = ""
    if not effect.effective and not removed_at:
        why = "the rule is not effective everywhere yet"
    elif not is_swept:
        why = "the sweep of the queues is not over yet"
    elif effect.effective and not effect.quiet_at:
        why = "deliveries whose final dot had been sent are not settled yet"
    elif held and not acts:
        why = "deliveries that the pause held are not back in their queues yet"
    elif acts and needs_attempt(effect.rule):
        unknown = "no sweep belongs to this rule: waiting mail meets it at its next attempt"
        return {"complete": None, "why_incomplete": unknown}
    return {"complete": not why, "why_incomplete": why or UNSET}


def _delivered(of_tag: Counts | None, after: int) -> RuleDelivered:
    """`of_tag` is None where the rule does not select by one tag alone."""
    return RuleDelivered(before=UNSET if of_tag is None else max(0, of_tag.get("delivered", 0) - after), after=after)


def _identity(rule: Rule) -> dict[str, Any]:
    """The rule's own fields, under the names of its record."""
    return {
        **selectors_shown(rule.selectors),
        "code": rule.code or UNSET,
        "enabled": rule.enabled,
        "expires_at": _when(rule.expires_at) or UNSET,
        "reason": rule.reason or UNSET,
        "created_at": _when(rule.created_at) or UNSET,
        "created_by": rule.created_by or UNSET,
    }


def _when(at: int) -> str | None:
    """`at` in Unix ms, 0 = not yet."""
    return format_time(at) if at else None


def only_tag(selectors: Selectors) -> str | None:
    """The counter of the tag of a rule that selects by one tag and nothing else, but for a tenant."""
    tag, tenant = selectors.tag, selectors.tenant
    if tag is None or selectors != Selectors(tag=tag, tenant=tenant):
        return None
    return tag if tenant is None else tenants_tag(tag, tenant)


def _intercepted(counts: Counts) -> Intercepted:
    return Intercepted(**{stage.value: counts.get(f"intercepted:{stage.value}", 0) for stage in Stage})


def _sum(intercepted: Intercepted) -> int:
    return intercepted.queued + intercepted.attempt + intercepted.before_dot + intercepted.door


def _progress(rule: Rule, sweep: SweepState | None, as_of: int, removed_at: int) -> SweepProgress | UnsetType:
    """UNSET where no sweep belongs to the account of the rule. The sweep of a removed rule is done or has stopped."""
    if removed_at:
        if sweep is None:
            return UNSET
        if sweep.phase is not SweepPhase.DONE:
            sweep = sweep._replace(phase=SweepPhase.STOPPED)
    elif not needs_sweep(rule, sweep, as_of):
        return UNSET
    if sweep is None or sweep.generation < rule.generation:
        return SweepProgress(SweepPhase.WAITING.value, 0, 0, 0.0, None)
    elapsed = max(sweep.updated_at - sweep.started_at, 1) / 1000
    eta = None
    if sweep.phase in (SweepPhase.DONE, SweepPhase.STOPPED):
        eta = 0.0
    elif sweep.share > 0:
        eta = round(elapsed * (1 - sweep.share) / sweep.share, 1)
    return SweepProgress(
        sweep.phase.value, sweep.seen, sweep.matched, round(sweep.seen / elapsed, 1), eta, sweep.unresolved or UNSET
    )
