"""The statement of a rule, completed by history."""

from typing import NamedTuple

from aiohttp import web
from msgspec import UNSET
from msgspec.structs import replace

from control_api import dependencies
from control_api.access.actor import actor_of
from control_api.http.times import now_ms
from control_api.rules.before_counts import BEFORE
from control_api.rules.mail_of_rule import MailOfRule
from mta.model.statements import RuleStatement
from mta.model.sweeps import SweepState
from mta.orders.statement import only_tag
from mta.policy.rule_effect import in_force
from mta.ports.orders import Effect


class KnownRule(NamedTuple):
    """A rule that stands, or was removed a while ago."""

    effect: Effect
    sweep: SweepState | None
    removed_at: int = 0  # Unix ms, 0 = it stands

    def acts_until(self, now: int) -> int | None:
        """When it stopped to act, Unix ms; None: it acts."""
        rule = self.effect.rule
        if self.removed_at:
            return self.removed_at
        if in_force(rule, now):
            return None
        return rule.expires_at if rule.enabled else self.effect.effective_at or now


async def with_history(request: web.Request, known: KnownRule, said: RuleStatement) -> RuleStatement:
    """`said` with `accepted` and `delivered.before` from history, for a rule that has no counters of them."""
    deps, effect = dependencies.of(request), known.effect
    if only_tag(effect.rule.selectors) is not None or not effect.effective:
        return said
    tenant = actor_of(request).tenant
    mail = MailOfRule(effect, await deps.catalogue.readable(), tenant)
    until = known.acts_until(now_ms())
    found = await request.app[BEFORE].count(
        mail, f"{effect.rule.id} {tenant}", effect.rule.generation, effect.effective_at, until
    )
    if found is None:
        return said
    delivered = replace(said.delivered, before=found.delivered, source="history")
    # What history has not heard of yet, or no longer knows, makes no account of all.
    return replace(said, delivered=delivered, accepted=found.accepted if found.accepted >= said.matched else UNSET)
