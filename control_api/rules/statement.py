"""The statement of a rule, completed by history."""

import logging
from typing import NamedTuple

import msgspec
from aiohttp import web
from msgspec import UNSET
from msgspec.structs import replace

from control_api import dependencies
from control_api.access.actor import actor_of
from control_api.dependencies import Dependencies
from control_api.http.times import now_ms
from control_api.rules.before_counts import BEFORE
from control_api.rules.mail_of_rule import MailOfRule
from mta.model.errors import HistoryOff, StoreError
from mta.model.rule_events import account_event
from mta.model.rules import Kind, Rule
from mta.model.statements import RuleStatement
from mta.model.sweeps import SweepState
from mta.orders.account import Accounts
from mta.orders.statement import only_tag
from mta.policy.rule_effect import in_force
from mta.ports.orders import Effect

_log = logging.getLogger(__name__)
_decode = msgspec.json.Decoder(RuleStatement | None).decode


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


async def account_of(deps: Dependencies, known: KnownRule) -> RuleStatement:
    """From counters alone."""
    return await Accounts(deps.rules, deps.sets, deps.books, now_ms).of(known.effect, known.sweep, known.removed_at)


async def keep_account(deps: Dependencies, rule: Rule) -> None:
    """The account of a rule that has just been removed, as its statement is from now on, goes into history, where it
    can be read when the store has dropped it. That the store fails here takes nothing from the removal."""
    try:
        removed = await deps.rules.removed(rule.id)
        if removed is not None:
            last = await deps.orders.effect_of_removed(removed)
            said = await account_of(deps, KnownRule(last._replace(rule=rule), removed.sweep, removed.at))
            await deps.audit.keep_account(account_event(rule, said, now_ms()))
    except StoreError as error:
        _log.warning("the account of rule %s is not kept in history: %s", rule.id, error)


async def past_statement(request: web.Request, kind: Kind) -> RuleStatement | None:
    """The account of a rule that the store has dropped. None: history has none, or it is not the actor's to see."""
    try:
        raw = await dependencies.of(request).history.rule_statement(request.match_info["id"])
    except HistoryOff:
        return None
    try:
        said = _decode(raw or "null")
    except msgspec.DecodeError:  # of a set of rules, or of another release
        return None
    if said is None or (said.code is UNSET) is not (kind is Kind.PAUSE):
        return None
    return said if actor_of(request).sees("" if said.tenant is UNSET else said.tenant) else None


async def with_history(request: web.Request, known: KnownRule, said: RuleStatement) -> RuleStatement:
    """`said` with `accepted` and `delivered.before` from history, for a rule that has no counters of them."""
    deps, effect = dependencies.of(request), known.effect
    if only_tag(effect.rule.selectors) is not None or not effect.effective:
        return said
    tenant = actor_of(request).tenant
    mail = MailOfRule(effect, await deps.catalogue.readable(), deps.sites, tenant)
    until = known.acts_until(now_ms())
    found = await request.app[BEFORE].count(
        mail, f"{effect.rule.id} {tenant}", effect.rule.generation, effect.effective_at, until
    )
    if found is None:
        return said
    delivered = replace(said.delivered, before=found.delivered, source="history")
    # While history lacks deliveries that the rule matched (too new, or dropped), its count of all would be too small.
    return replace(said, delivered=delivered, accepted=found.accepted if found.accepted >= said.matched else UNSET)
