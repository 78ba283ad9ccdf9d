"""Warnings about a rule that was ordered: it stands all the same, since mail that it matches may come."""

from collections.abc import Collection, Sequence

from control_api.dependencies import Dependencies
from control_api.http.times import now_ms, shown
from control_api.node.workers import name_of
from control_api.pools.in_force import pools_in_force
from mta.model.actor import Actor
from mta.model.errors import StoreError
from mta.model.mail import tenants_tag
from mta.model.rules import AtTheDoor, Rule, Selectors
from mta.model.sweeps import SweepPhase
from mta.policy.addresses import domain_of
from mta.policy.pools import owners
from mta.policy.rule_effect import off_until
from mta.ports.orders import Effect

_NAMED = 5  # domains that one warning names


async def _silent(deps: Dependencies, effect: Effect) -> list[str]:
    """The reasons for which processes cannot confirm the rules."""
    if not effect.unconfirmed:
        return []
    sessions, builds = await deps.rules.sessions(), await deps.rules.builds()
    reasons = {session: builds[session].unreadable for session in effect.unconfirmed if session in builds}
    return [
        f"{name_of(session, sessions)} confirms nothing and delivers nothing: {reason}"
        for session, reason in sorted(reasons.items())
        if reason
    ]


async def warnings_of(deps: Dependencies, effect: Effect, actor: Actor) -> list[str]:
    """One sentence for each thing that the author of the order should look at. A bound token is told of its tenant's
    mail alone: processes, pools and the mail of others are left out."""
    rule, selectors = effect.rule, effect.rule.selectors
    found = [*([] if actor.tenant else await _silent(deps, effect)), *_about_protected(selectors, deps.protected_tags)]
    if rule.at_the_door is AtTheDoor.REJECT and (selectors.mta or selectors.ip or selectors.mx):
        found.append("the door rejects no mail for this rule: the sending IP and the peer are known only at an attempt")
    if rule.at_the_door is AtTheDoor.REJECT and selectors.site is not None:
        found.append("the door accepts mail for a domain whose site is not known yet; its attempt decides then")
    found += _about_schedule(rule)
    try:
        found += await _about_tags(deps, selectors, actor.tenant)
        if not actor.tenant:
            found += await _about_domain(deps, rule)
            found += await _about_source(deps, selectors)
        if not found:
            found += await _about_match(deps, rule)
    except StoreError:
        found.append("the store did not answer, so it is not known whether any mail matches these selectors")
    return found


def _about_schedule(rule: Rule) -> list[str]:
    begins = off_until(rule, now_ms())
    return [] if begins is None else [f"its schedule is off now; it holds mail from {shown(begins)} on"]


async def _about_tags(deps: Dependencies, selectors: Selectors, tenant: str) -> list[str]:
    """A tag that no mail (of the tenant, unless it is "") has carried yet is a typing error more often than not."""
    needed = {*(selectors.tags_all or ())} | ({selectors.tag} if selectors.tag is not None else set())
    spared = {*(selectors.except_tags or ())}
    named = {tenants_tag(tag, tenant) if tenant else tag: tag for tag in sorted(needed | spared)}
    unseen = [named[name] for name in await deps.books.unseen(list(named))]
    found = []
    for tag in unseen:
        if tag in needed:
            near = await deps.nearest_tags.to(tag, tenant)
            found.append(f"no mail carries tag {tag} yet; check its spelling{_lately(near)}")
    return found + [
        f"no mail carries tag {tag} yet, so except_tags spares none by it" for tag in unseen if tag in spared
    ]


def _lately(near: Sequence[str]) -> str:
    return f" (seen lately: {', '.join(near)})" if near else ""


async def _about_domain(deps: Dependencies, rule: Rule) -> list[str]:
    chosen = rule.selectors
    names = chosen.names or (() if chosen.recipient is None else (domain_of(chosen.recipient),))
    if not names or (len(names) == 1 and (await deps.books.rule(rule.id)).get("met")):
        return []  # the sweep may have ended all of it by now
    unmet = await deps.books.unmet(names)
    if len(unmet) > _NAMED:
        first = ", ".join(unmet[:_NAMED])
        return [f"no mail waits now for {len(unmet)} of the {len(names)} domains, such as {first}"]
    return [_unknown(name) for name in unmet]


def _unknown(domain: str) -> str:
    if "." not in domain:
        return f"{domain} is no domain name of the Internet (it has no dot), and no mail for it waits"
    return f"no mail for {domain} waits now; check its spelling"


async def _about_source(deps: Dependencies, selectors: Selectors) -> list[str]:
    if selectors.pool is None and selectors.mta is None:
        return []
    stored, pools = await deps.sweeps.pools(), await pools_in_force(deps)
    found = []
    if selectors.pool is not None and selectors.pool not in {*pools, *stored}:
        found.append(f"pool {selectors.pool} is not known here and has no mail")
    if selectors.mta is not None and selectors.mta not in owners(pools) and f"@{selectors.mta}" not in stored:
        found.append(f"address {selectors.mta} is not known here and has no mail")
    return found


async def _about_match(deps: Dependencies, rule: Rule) -> list[str]:
    """A warning if the sweep has met no delivery, as with a mistyped tenant."""
    chosen = rule.selectors
    if chosen.ip is not None or chosen.mx is not None:
        return ["it acts at the next attempt, since the peer is known only then; waiting deliveries stay queued"]
    sweep = await deps.sweeps.sweep(rule.order_id) if rule.enabled else None
    if sweep is None or sweep.generation < rule.generation or sweep.phase is not SweepPhase.DONE:
        return []
    if (await deps.books.rule(rule.id)).get("met"):
        return []
    return ["no mail that waits matches these selectors together; check the spelling of each"]


def _about_protected(selectors: Selectors, protected: Collection[str]) -> list[str]:
    """The effect of rules.protected_tags on the rule."""
    if not protected:
        return []
    if selectors.tag in protected:
        return [
            f"tag {selectors.tag} is protected (rules.protected_tags); this rule names it, so its mail is not spared"
        ]
    needed = sorted(set(selectors.tags_all or ()).intersection(protected))
    if needed:
        return [f"tag {needed[0]} is protected (rules.protected_tags): without it as its tag the rule matches nothing"]
    return [f"mail that carries {' or '.join(sorted(protected))} too is spared (rules.protected_tags)"]
