"""Forced errors over REST: list, order, edit, lift, and the account of what a rule met."""

import secrets
from collections.abc import Collection, Mapping
from typing import Any

import msgspec
from aiohttp import web

from control_api import dependencies
from control_api.bodies import read_fields
from control_api.dependencies import Dependencies
from control_api.problems import Problem, json_response
from control_api.query import LONGEST_WAIT, cursor_of, read_cursor, read_limit, read_query, read_wait
from control_api.rule_body import (
    LISTS,
    check_fields,
    read_domain,
    read_edit,
    read_pool,
    read_rule,
    read_selectors,
    read_tag,
)
from control_api.times import now_ms, shown
from control_api.workers import name_of
from mta.model.errors import BadValue, StoreError
from mta.model.rules import Rule, Selectors
from mta.policy.rule_table import RuleTable, in_force, swept
from mta.ports.rules import Effect
from mta.rules.statement import only_tag, rule_statement

_UNTIL = ("effective", "quiet", "swept")
_STATES = {"true": (True,), "false": (False,), "all": (True, False)}


async def list_errors(request: web.Request) -> web.Response:
    """GET /v1/errors?tag=&pool=&domain=&enabled=&limit=&cursor=: a bare array of the rules in force, oldest first;
    `enabled=false` are those that are disabled or have expired."""
    asked = read_query(request, ("tag", "pool", "domain", "enabled", "limit", "cursor"))
    states = _STATES.get(asked.get("enabled", "true"))
    if states is None:
        raise BadValue("enabled", f"is none of {', '.join(_STATES)}")
    limit = read_limit(asked.get("limit"), None)
    after = read_cursor(asked.get("cursor"), 2)
    wanted = {
        "tag": read_tag(asked["tag"], "tag") if "tag" in asked else None,
        "pool": read_pool(asked["pool"], "pool") if "pool" in asked else None,
        "domain": read_domain(asked["domain"], "domain", wildcard=True) if "domain" in asked else None,
    }
    deps = dependencies.of(request)
    table = await deps.catalogue.table()
    now = now_ms()
    found = [
        rule
        for rule in sorted(table.rules(), key=_order)
        if in_force(rule, now) in states
        and all(value is None or getattr(rule.selectors, name) == value for name, value in wanted.items())
        and (after is None or _order(rule) > after)
    ]
    page = found if limit is None else found[:limit]
    counts = await deps.books.rules([rule.id for rule in page])
    body = [_shown(rule) | _use(rule, of_rule, table) for rule, of_rule in zip(page, counts, strict=True)]
    headers = {}
    if len(found) > len(page):
        following = request.rel_url.update_query(cursor=cursor_of(*_order(page[-1])))
        headers["Link"] = f'<{following}>; rel="next"'
    return json_response(body, headers=headers)


async def post_error(request: web.Request) -> web.Response:
    """POST /v1/errors?wait=&until=: 201 created, 200 replaced, 202 where what is waited for has not happened yet."""
    wait, until = _patience(request)
    deps = dependencies.of(request)
    now = now_ms()
    asked = read_rule(await read_fields(request, LISTS), deps.node, now)
    rule = msgspec.structs.replace(asked, id=_new_id(now), created_at=now, created_by="admin")
    effect = await deps.orders.put(rule, wait, until)
    status = (201 if effect.created else 200) if await _reached(deps, effect, until) else 202
    body = _shown(effect.rule) | await _effect(deps, effect)
    body["warnings"] = await _warnings(deps, effect.rule)
    headers = {"Location": f"/v1/errors/{effect.rule.id}"} if effect.created else {}
    return json_response(body, status, headers | _etag(effect.rule))


async def patch_error(request: web.Request) -> web.Response:
    """PATCH /v1/errors/{id}?wait=&until=: edit, enable, disable. `If-Match`: only if the rule is at that generation."""
    wait, until = _patience(request)
    deps = dependencies.of(request)
    edit = read_edit(await read_fields(request, LISTS, nulls=True), now_ms())
    wanted = request.if_match

    def checked(rule: Rule) -> Rule:
        if wanted is not None and not any(
            tag.value in ("*", str(rule.generation)) and not tag.is_weak for tag in wanted
        ):
            words = f"the rule is at generation {rule.generation} by now; read it again"
            raise Problem(412, words, "If-Match", _etag(rule))
        return edit(rule)

    effect = await deps.orders.edit(request.match_info["id"], checked, "admin", wait, until)
    if effect is None:
        raise _unknown()
    body = _shown(effect.rule) | await _effect(deps, effect)
    body["warnings"] = await _warnings(deps, effect.rule)
    return json_response(body, 200 if await _reached(deps, effect, until) else 202, _etag(effect.rule))


async def delete_by_selectors(request: web.Request) -> web.Response:
    """DELETE /v1/errors: the rule of exactly these selectors; other fields of a rule are taken and ignored."""
    wait, _ = _patience(request, until=False)
    deps = dependencies.of(request)
    fields = await read_fields(request, LISTS)
    check_fields(fields)
    selectors = read_selectors(fields, deps.node)
    table = await deps.catalogue.table()
    found = next((rule for rule in table.rules() if rule.selectors == selectors), None)
    if found is None:
        raise Problem(404, "there is no forced error with exactly these selectors")
    return await _remove(deps, found.id, wait)


async def show_error(request: web.Request) -> web.Response:
    """GET /v1/errors/{id}."""
    read_query(request)
    deps = dependencies.of(request)
    table = await deps.catalogue.table()
    rule = table.rule(request.match_info["id"])
    if rule is None:
        raise _unknown()
    effect = await deps.orders.effect(rule)
    body = _shown(rule) | _use(rule, await deps.books.rule(rule.id), table) | await _effect(deps, effect)
    return json_response(body, headers=_etag(rule))


async def delete_error(request: web.Request) -> web.Response:
    """DELETE /v1/errors/{id}."""
    wait, _ = _patience(request, until=False)
    return await _remove(dependencies.of(request), request.match_info["id"], wait)


async def show_statement(request: web.Request) -> web.Response:
    """GET /v1/errors/{id}/statement."""
    read_query(request)
    deps = dependencies.of(request)
    rule = await deps.rules.rule(request.match_info["id"])
    if rule is None:
        raise _unknown()
    effect = await deps.orders.effect(rule)
    sweep = (await deps.sweeps.sweeps()).get(rule.id)
    counts = await deps.books.rule(rule.id)  # before the tag's, see rule_statement
    tag = only_tag(rule.selectors)
    of_tag = None if tag is None else await deps.books.tag(tag)
    return json_response(msgspec.to_builtins(rule_statement(effect, counts, of_tag, sweep, now_ms())))


async def _remove(deps: Dependencies, rule_id: str, wait: float) -> web.Response:
    effect = await deps.orders.remove(rule_id, "admin", wait)
    if effect is None:
        raise _unknown()
    return json_response(_shown(effect.rule) | await _effect(deps, effect), 200 if effect.effective else 202)


def _unknown() -> Problem:
    return Problem(404, "there is no forced error with this id; it may have been removed")


def _patience(request: web.Request, until: bool = True) -> tuple[float, str]:
    asked = read_query(request, ("wait", "until") if until else ("wait",))
    wait = read_wait(asked.get("wait"), "wait", dependencies.of(request).api.wait, LONGEST_WAIT)
    goal = asked.get("until", "effective")
    if goal not in _UNTIL:
        raise BadValue("until", f"is none of {', '.join(_UNTIL)}")
    return wait, goal


async def _reached(deps: Dependencies, effect: Effect, until: str) -> bool:
    if until == "effective" or not effect.effective:
        return effect.effective
    if until == "quiet":
        return effect.quiet_at > 0
    if not swept(effect.rule):
        return True
    sweep = (await deps.sweeps.sweeps()).get(effect.rule.id)
    return sweep is not None and sweep.generation == effect.rule.generation and sweep.state == "done"


def _etag(rule: Rule) -> dict[str, str]:
    return {"ETag": f'"{rule.generation}"'}


def _order(rule: Rule) -> tuple[str, str]:
    return f"{rule.created_at:015d}", rule.id


def _new_id(now: int) -> str:
    """Sorts by time of creation; made of hexadecimal digits only, so that it can stand in keys and paths."""
    return f"{now:012x}{secrets.token_hex(5)}"


def _shown(rule: Rule) -> dict[str, Any]:
    """The rule with CONTRACT's names; what is not set is left out."""
    selectors = rule.selectors
    found: dict[str, Any] = {
        "id": rule.id,
        "code": rule.code,
        "extended": rule.extended or None,
        "description": rule.description or None,
        "pool": selectors.pool,
        "mta": selectors.mta,
        "domain": selectors.domain,
        "ip": selectors.ip,
        "mx": selectors.mx,
        "tag": selectors.tag,
        "tags_all": selectors.tags_all,
        "except_tags": selectors.except_tags,
        "cluster": selectors.cluster,
        "node": selectors.node,
        "enabled": rule.enabled,
        "expires_at": shown(rule.expires_at),
        "reason": rule.reason or None,
        "created_at": shown(rule.created_at),
        "created_by": rule.created_by or None,
        "generation": rule.generation,
    }
    return {name: value for name, value in found.items() if value is not None}


def _use(rule: Rule, counts: Mapping[str, int], table: RuleTable) -> dict[str, Any]:
    return {
        "hits": counts.get("hits", 0),
        "last_hit_at": shown(counts.get("last_hit_at", 0)),
        "shadowed_by": table.shadowed_by(rule),
    }


async def _effect(deps: Dependencies, effect: Effect) -> dict[str, Any]:
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


async def _warnings(deps: Dependencies, rule: Rule) -> list[str]:
    """Never refuses the rule, which stands already: mail for a pool or an address that nobody knows may come."""
    selectors = rule.selectors
    found = _about_protected(selectors, deps.protected_tags)
    if selectors.pool is None and selectors.mta is None:
        return found
    try:
        stored = await deps.sweeps.pools()
    except StoreError:
        return [*found, "whether the pool or address is known could not be found out"]
    if selectors.pool is not None and selectors.pool not in {*deps.pools, *stored}:
        found.append(f"pool {selectors.pool} is not known here and has no mail")
    if selectors.mta is not None and selectors.mta not in _addresses(deps.pools) and f"@{selectors.mta}" not in stored:
        found.append(f"address {selectors.mta} is not known here and has no mail")
    return found


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
