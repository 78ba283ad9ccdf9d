"""Statements from counters: what became of a tag's deliveries, and of those that a rule met."""

from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import UNSET

from mta.model.outcomes import Class, Stage
from mta.model.rules import Selectors
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

    "met" is counted when the rule first meets a delivery, apart from what became of it, so that the two can disagree.
    `queued` are the tag's that the rule has still to meet; nothing is known of such deliveries for other rules. A rule
    that is disabled, over, or was removed (at `removed_at`, Unix ms) meets nothing more.
    """
    rule = effect.rule
    of_tag = tag_counts if only_tag(rule.selectors) is not None else None
    intercepted = _intercepted(counts)
    met, after = counts.get("met", 0), counts.get("after", 0)
    deferred, held, other = counts.get("deferred", 0), counts.get("held", 0), counts.get("other", 0)
    acts = in_force(rule, as_of) and not removed_at
    queued = max(0, of_tag.get("queued", 0) - deferred) if of_tag is not None and acts else 0
    if removed_at and sweep is not None and sweep.phase is not SweepPhase.DONE:
        sweep = sweep._replace(phase=SweepPhase.STOPPED)
    shows_sweep = sweep is not None if removed_at else needs_sweep(rule, sweep, as_of)
    progress = _progress(sweep, rule.generation) if shows_sweep else UNSET
    is_swept = removed_at > 0 or is_over(rule, sweep, as_of)
    released = acts or not held  # what a pause that is over holds goes back to its queues
    complete = is_swept and released and (effect.quiet_at > 0 if effect.effective else removed_at > 0)
    ended = _sum(intercepted) + after + deferred + held + other
    delivered = RuleDelivered(after=after)
    if of_tag is not None:
        delivered = RuleDelivered(before=max(0, of_tag.get("delivered", 0) - after), after=after)
    return RuleStatement(
        as_of=format_time(as_of),
        rule=rule.id,
        generation=rule.generation,
        effective_at=format_time(effect.effective_at) if effect.effective else None,
        quiet_at=format_time(effect.quiet_at) if effect.quiet_at else None,
        matched=met + queued,
        intercepted=intercepted,
        delivered=delivered,
        deferred=deferred,
        queued=queued,
        held=held,
        other=other,
        uncertain=counts.get("uncertain", 0),
        undoable=undoable,
        sweep=progress,
        complete=complete,
        balanced=met == ended if is_swept else None,
        accepted=of_tag.get("accepted", 0) if of_tag is not None else UNSET,
        removed_at=format_time(removed_at) if removed_at else UNSET,
    )


def only_tag(selectors: Selectors) -> str | None:
    """The tag of a rule that selects by one tag and nothing else."""
    return selectors.tag if selectors == Selectors(tag=selectors.tag) else None


def _intercepted(counts: Counts) -> Intercepted:
    return Intercepted(**{stage.value: counts.get(f"intercepted:{stage.value}", 0) for stage in Stage})


def _sum(intercepted: Intercepted) -> int:
    return intercepted.queued + intercepted.attempt + intercepted.before_dot + intercepted.door


def _progress(sweep: SweepState | None, generation: int) -> SweepProgress:
    if sweep is None or sweep.generation != generation:
        return SweepProgress("waiting", 0, 0, 0.0, None)
    elapsed = max(sweep.updated_at - sweep.started_at, 1) / 1000
    eta = None
    if sweep.phase in (SweepPhase.DONE, SweepPhase.STOPPED):
        eta = 0.0
    elif sweep.share > 0:
        eta = round(elapsed * (1 - sweep.share) / sweep.share, 1)
    return SweepProgress(sweep.phase.value, sweep.seen, sweep.matched, round(sweep.seen / elapsed, 1), eta)
