"""Orders with a bound over REST: `max_matches`, or `preview_token`, which stands for the count of a preview."""

import asyncio
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec

from control_api.dependencies import Dependencies
from control_api.http.problems import Problem
from control_api.schemas.rule_bodies import BOUNDS, NEW
from mta.model.actor import Actor
from mta.model.errors import BadValue
from mta.model.rules import BoundState, Kind, Rule
from mta.policy.bounded_orders import as_ordered, hold_for
from mta.policy.rule_effect import holds, is_counting, needs_attempt
from mta.ports.orders import Effect
from mta.timing.clock import boottime

_TOLERATED: Final = 20  # a token allows one delivery more for each so many of its preview: 5 %
LOOK: Final = 0.02  # seconds between looks whether the order is decided
_INSTANTS: Final = ("accepted_before", "accepted_after")
_AGAIN: Final = "ask POST /v1/errors/preview again"


class Bound(NamedTuple):
    """The bound of an order, as its body gives it: one of these."""

    max_matches: int | None
    preview_token: str | None


def bound_of(fields: Mapping[str, Any], rule: Rule) -> Bound | None:
    """The bound in the fields of a body from which `rule` was read; None: there is none. Raises BadValue."""
    known = NEW[Kind.ERROR].fields()
    given = {name: known[name].value.read(fields[name], name) for name in BOUNDS if fields.get(name) is not None}
    if not given:
        return None
    bound = Bound(given.get("max_matches"), given.get("preview_token"))
    if None not in bound:
        raise BadValue("preview_token", "cannot be combined with max_matches; give one of them")
    name = "max_matches" if bound.max_matches is not None else "preview_token"
    if needs_attempt(rule):
        words = "the mail that a rule with mta, ip, mx or cluster: false matches is known only at its attempts"
        raise BadValue(name, f"cannot be given with these selectors: {words}; leave it out")
    if not rule.enabled:
        raise BadValue(name, "cannot be given with enabled: false, since such a rule matches nothing; leave it out")
    return bound


async def most_matches(deps: Dependencies, bound: Bound, rule: Rule, fields: Mapping[str, Any]) -> int:
    """How many deliveries the order may match; `fields` are those of its body. Raises Problem 409 where the token is of
    no counted preview of this rule."""
    if bound.max_matches is not None:
        return bound.max_matches
    preview = await deps.previews.get(bound.preview_token or "")
    if preview is None:
        raise Problem(409, f"is of no preview that is kept; {_AGAIN}", "preview_token")
    # "now" was another instant at the preview.
    moved = {name: getattr(rule.selectors, name) for name in _INSTANTS if fields.get(name) == "now"}
    if msgspec.structs.replace(preview.rule.selectors, **moved) != rule.selectors:
        raise Problem(409, f"is of a preview with other selectors; {_AGAIN} with those of this order", "preview_token")
    if preview.counted is None:
        raise Problem(409, "is of a preview that is not counted yet; wait until its state is done", "preview_token")
    return preview.counted + preview.counted // _TOLERATED


async def order(deps: Dependencies, rule: Rule, most: int, actor: Actor, wait: float) -> Effect:
    """Hold what the rule matches, and follow the order until it is decided, at most `wait` seconds: the effect of the
    forced error, or of an order that is not decided yet. A sweeper process decides, also when this process has died.
    Raises Problem 409 where the order was refused."""
    until = boottime() + wait
    made = await deps.orders.put(hold_for(rule, most), actor, wait, "effective")
    hold = made.rule
    while True:
        found = await deps.rules.rule(hold.id)
        if found is None:
            return await _after_removal(deps, hold.id)
        if not holds(found):
            return (await deps.orders.effect(found))._replace(created=True)
        effect = await deps.orders.effect(found)
        if found.bound is None or (is_counting(found) and not found.enabled):
            raise Problem(409, "the mail that this order holds was taken over by hand before it was counted")
        if found.bound.state is BoundState.REFUSED and effect.effective:
            raise refusal(found)
        if boottime() >= until:
            return undecided(effect)
        await asyncio.sleep(LOOK)


async def _after_removal(deps: Dependencies, hold_id: str) -> Effect:
    removed = await deps.rules.removed(hold_id)
    bound = removed.rule.bound if removed is not None else None
    if removed is not None and bound is not None and bound.state is BoundState.REFUSED:
        raise refusal(removed.rule)
    known = await deps.rules.rule(bound.became) if bound is not None and bound.became else None
    if known is None:
        raise Problem(409, "the order was lifted by hand before its mail was counted; it was released")
    return await deps.orders.effect(known)


def undecided(effect: Effect) -> Effect:
    """The effect of an order whose mail is held, and not counted: its forced error is not in force."""
    return effect._replace(
        rule=as_ordered(effect.rule), created=True, effective=False, effective_at=0, effective_by=0, quiet_at=0
    )


def refusal(hold: Rule) -> Problem:
    """The answer to an order that matches more than it allows."""
    bound = hold.bound
    assert bound is not None
    words = f"the order matches {bound.matched} deliveries and allows {bound.max_matches}; nothing of it was ended"
    return Problem(409, f"{words}, and what it held is released", matched=bound.matched)
