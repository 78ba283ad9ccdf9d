"""How the API shows a rule: with CONTRACT's names, with what is known of its effect, and with warnings."""

from collections.abc import Collection, Mapping
from typing import Any

from control_api.dependencies import Dependencies
from control_api.times import shown
from control_api.workers import name_of
from mta.model.errors import StoreError
from mta.model.rules import AtTheDoor, Kind, Rule, Selectors
from mta.model.sweeps import SweepPhase
from mta.policy.rule_table import RuleTable
from mta.ports.orders import Effect


def shown_rule(rule: Rule) -> dict[str, Any]:
    """The rule with CONTRACT's names; what is not set is left out."""
    selectors = rule.selectors
    found: dict[str, Any] = {"id": rule.id}
    if rule.kind is Kind.ERROR:
        found |= {"code": rule.code, "extended": rule.extended or None, "description": rule.description or None}
    found |= {
        "pool": selectors.pool,
        "mta": selectors.mta,
        "domain": selectors.domain,
        "ip": selectors.ip,
        "mx": selectors.mx,
        "tag": selectors.tag,
        "tags_all": selectors.tags_all,
        "except_tags": selectors.except_tags,
        "tenant": selectors.tenant,
        "cluster": selectors.cluster,
        "node": selectors.node,
        "enabled": rule.enabled,
        "expires_at": shown(rule.expires_at),
        "in_flight": rule.in_flight,
        "reason": rule.reason or None,
        "created_at": shown(rule.created_at),
        "created_by": rule.created_by or None,
        "generation": rule.generation,
    }
    if rule.kind is Kind.ERROR:
        found |= {"at_the_door": rule.at_the_door, "undo": rule.undo}
    return {name: value for name, value in found.items() if value is not None}


def use_of(rule: Rule, counts: Mapping[str, int], table: RuleTable) -> dict[str, Any]:
    """What the rule has met, by its counters, and how many a pause holds now."""
    found = {
        "hits": counts.get("hits", 0),
        "last_hit_at": shown(counts.get("last_hit_at", 0)),
        "shadowed_by": table.shadowed_by(rule),
    }
    return found if rule.kind is Kind.ERROR else found | {"held": counts.get("held", 0)}


async def shown_effect(deps: Dependencies, effect: Effect) -> dict[str, Any]:
    """Whether and since when the change is effective, who has confirmed it, and what was past its dot."""
    sessions = await deps.rules.sessions()
    found: dict[str, Any] = {"effective": effect.effective}
    if effect.effective:
        found["effective_at"] = shown(effect.effective_at)
    else:
        found["effective_by"] = shown(effect.effective_by)
    found["past_dot"] = [
        {"id": entry.id, "recipient": entry.recipient, "dot_at": shown(entry.dot_at)} for entry in effect.past_dot
    ]
    found["quiet_at"] = shown(effect.quiet_at)
    found["workers"] = {
        "confirmed": sorted(name_of(session, sessions) for session in effect.confirmed),
        "unconfirmed": sorted(name_of(session, sessions) for session in effect.unconfirmed),
    }
    return found


async def _silent(deps: Dependencies, effect: Effect) -> list[str]:
    """Why processes that have not confirmed cannot."""
    if not effect.unconfirmed:
        return []
    sessions, builds = await deps.rules.sessions(), await deps.rules.builds()
    reasons = {session: builds[session].unreadable for session in effect.unconfirmed if session in builds}
    return [
        f"{name_of(session, sessions)} confirms nothing and delivers nothing: {reason}"
        for session, reason in sorted(reasons.items())
        if reason
    ]


async def warnings_of(deps: Dependencies, effect: Effect) -> list[str]:
    """Never refuses the rule, which stands already: mail that it matches may come."""
    rule, selectors = effect.rule, effect.rule.selectors
    found = [*await _silent(deps, effect), *_about_protected(selectors, deps.protected_tags)]
    if rule.at_the_door is AtTheDoor.REJECT and (selectors.mta or selectors.ip or selectors.mx):
        found.append("nothing is rejected at the door: by which way mail would go is known only at its attempt")
    try:
        found += await _about_tags(deps, selectors)
        found += await _about_domain(deps, rule)
        found += await _about_source(deps, selectors)
        if not found:
            found += await _about_match(deps, rule)
    except StoreError:
        found.append("whether there is mail with these selectors could not be found out")
    return found


async def _about_tags(deps: Dependencies, selectors: Selectors) -> list[str]:
    """A tag that no mail has carried yet is a typing error more often than not."""
    needed = {*(selectors.tags_all or ())} | ({selectors.tag} if selectors.tag is not None else set())
    spared = {*(selectors.except_tags or ())}
    unseen = await deps.books.unseen(sorted(needed | spared))
    found = [f"no mail carries tag {tag} yet; check its spelling" for tag in unseen if tag in needed]
    return found + [
        f"no mail carries tag {tag} yet, so except_tags spares none by it" for tag in unseen if tag in spared
    ]


async def _about_domain(deps: Dependencies, rule: Rule) -> list[str]:
    domain = rule.selectors.domain
    if domain is None or await deps.books.waits(domain) or (await deps.books.rule(rule.id)).get("met"):
        return []  # the sweep may have ended all of it by now
    if "." not in domain:
        return [f"{domain} is no domain name of the Internet (it has no dot), and no mail for it waits"]
    return [f"no mail for {domain} waits now; check its spelling"]


async def _about_source(deps: Dependencies, selectors: Selectors) -> list[str]:
    if selectors.pool is None and selectors.mta is None:
        return []
    stored = await deps.sweeps.pools()
    found = []
    if selectors.pool is not None and selectors.pool not in {*deps.pools, *stored}:
        found.append(f"pool {selectors.pool} is not known here and has no mail")
    if selectors.mta is not None and selectors.mta not in _addresses(deps.pools) and f"@{selectors.mta}" not in stored:
        found.append(f"address {selectors.mta} is not known here and has no mail")
    return found


async def _about_match(deps: Dependencies, rule: Rule) -> list[str]:
    """Selectors that no mail carries, such as a tenant that is mistyped, show only by what the sweep has met."""
    chosen = rule.selectors
    if chosen.ip is not None or chosen.mx is not None:
        return ["it acts at the next attempt of a delivery, since the peer is known only then; what waits stays queued"]
    sweep = await deps.sweeps.sweep(rule.id) if rule.enabled else None
    if sweep is None or sweep.generation != rule.generation or sweep.phase is not SweepPhase.DONE:
        return []
    if (await deps.books.rule(rule.id)).get("met"):
        return []
    return ["no mail that waits matches these selectors together; check the spelling of each"]


def _about_protected(selectors: Selectors, protected: Collection[str]) -> list[str]:
    """What rules.protected_tags makes of the rule."""
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


def _addresses(pools: Mapping[str, tuple[str, ...]]) -> set[str]:
    return {address for addresses in pools.values() for address in addresses}
