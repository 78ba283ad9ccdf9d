"""Statements from counters: the account of a tag's deliveries, and of the deliveries that a rule met."""

from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import UNSET, UnsetType

from mta.model.outcomes import Class, Stage
from mta.model.rules import Rule, Selectors
from mta.model.statements import Intercepted, RuleDelivered, RuleStatement, SweepProgress, TagStatement
from mta.model.sweeps import SweepPhase, SweepState
from mta.model.units import format_time
from mta.policy.rule_effect import in_force
from mta.policy.sweep_end import is_over, needs_sweep
from mta.ports.orders import Effect

Counts = Mapping[str, int]

_PLAIN: Final = [name for name in Class if name is not Class.INTERCEPTED]


def tag_statement(tag: str, counts: Counts, rules: Sequence[str], as_of: int, tracked: bool = True) -> TagStatement:
    """`counts` as `Books.tag` gives them; `rules` are the ids of those that select the tag; `as_of` in Unix ms."""
    intercepted = _intercepted(counts)
    classes = {name.value: counts.get(name.value, 0) for name in _PLAIN}
    return TagStatement(
        as_of=format_time(as_of),
        tag=tag,
        accepted=counts.get("accepted", 0),
        intercepted=intercepted,
        rejected=counts.get("rejected", 0),
        deferred_by_rule=counts.get("deferred_by_rule", 0),
        uncertain=counts.get("uncertain", 0),
        rules=tuple(rules),
        balanced=counts.get("accepted", 0) == sum(classes.values()) + _sum(intercepted),
        tracked=tracked,
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
) -> RuleStatement:
    """`counts` as `Books.rule` gives them, read before `tag_counts`: the tag's, for a rule that selects by one tag.
    `undoable` as `UndoCopyStore.count` gives it.

    "met" is counted when the rule first meets a delivery, its end is counted apart from that, so that the two can
    disagree. `queued` are the deliveries of the tag that the rule has still to meet; for other rules their number is
    not known. A rule that is disabled, has expired, or was removed (at `removed_at`, Unix ms) meets no more.
    """
    rule = effect.rule
    of_tag = tag_counts if only_tag(rule.selectors) is not None else None
    intercepted = _intercepted(counts)
    met, after = counts.get("met", 0), counts.get("after", 0)
    deferred, held, other = counts.get("deferred", 0), counts.get("held", 0), counts.get("other", 0)
    acts = in_force(rule, as_of) and not removed_at
    queued = max(0, of_tag.get("queued", 0) - deferred) if of_tag is not None and acts else 0
    is_swept = removed_at > 0 or is_over(rule, sweep, as_of)
    released = acts or not held  # deliveries that a pause held return to their queues when it ends
    quiet = effect.quiet_at > 0 if effect.effective else removed_at > 0
    before = UNSET if of_tag is None else max(0, of_tag.get("delivered", 0) - after)
    return RuleStatement(
        as_of=format_time(as_of),
        rule=rule.id,
        generation=rule.generation,
        effective_at=format_time(effect.effective_at) if effect.effective else None,
        quiet_at=format_time(effect.quiet_at) if effect.quiet_at else None,
        matched=met + queued,
        intercepted=intercepted,
        delivered=RuleDelivered(before=before, after=after),
        deferred=deferred,
        queued=queued,
        held=held,
        other=other,
        uncertain=counts.get("uncertain", 0),
        undoable=undoable,
        sweep=_progress(rule, sweep, as_of, removed_at),
        complete=is_swept and released and quiet,
        balanced=met == _sum(intercepted) + after + deferred + held + other if is_swept else None,
        accepted=UNSET if of_tag is None else of_tag.get("accepted", 0),
        removed_at=format_time(removed_at) if removed_at else UNSET,
    )


def only_tag(selectors: Selectors) -> str | None:
    """The tag of a rule that selects by one tag and nothing else."""
    return selectors.tag if selectors == Selectors(tag=selectors.tag) else None


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
    if sweep is None or sweep.generation != rule.generation:
        return SweepProgress(SweepPhase.WAITING.value, 0, 0, 0.0, None)
    elapsed = max(sweep.updated_at - sweep.started_at, 1) / 1000
    eta = None
    if sweep.phase in (SweepPhase.DONE, SweepPhase.STOPPED):
        eta = 0.0
    elif sweep.share > 0:
        eta = round(elapsed * (1 - sweep.share) / sweep.share, 1)
    return SweepProgress(sweep.phase.value, sweep.seen, sweep.matched, round(sweep.seen / elapsed, 1), eta)
