"""Many forced errors by one order: a set, with one effective time, one sweep and one statement."""

import secrets
from collections.abc import Sequence
from typing import Any

import msgspec
from aiohttp import web

from control_api import dependencies
from control_api.access.actor import actor_of
from control_api.dependencies import Dependencies
from control_api.http.bodies import read_large_json
from control_api.http.problems import Problem, json_response
from control_api.http.query import read_no_query, read_query
from control_api.http.times import now_ms, shown
from control_api.rules.body import read_rule
from control_api.rules.kept_accounts import KEPT
from control_api.rules.resource import order_made, reached, wait_of
from control_api.rules.tenancy import ordered, require_own, sees
from control_api.rules.view import shown_effect
from control_api.schemas.queries import OrderQuery
from control_api.schemas.rule_answers import SetOfRules
from control_api.schemas.rule_bodies import BOUNDS, SET
from control_api.schemas.values import MAX_IN_SET
from mta.model.actor import Actor
from mta.model.errors import BadValue
from mta.model.rules import Kind, Rule, RuleSet, Selectors
from mta.orders.account import Accounts
from mta.ports.orders import Effect
from mta.ports.rule_sets import StoredSet


async def change(request: web.Request) -> web.Response:
    """Make and lift many forced errors, all of them or, where one item cannot be taken, none. 202: the event of `until`
    has not happened yet."""
    asked = read_query(request, OrderQuery)
    deps = dependencies.of(request)
    given = SET.read(await read_large_json(request), "a field of a set of changes")
    create, remove = given.get("create") or [], given.get("remove") or []
    if not 0 < len(create) + len(remove) <= MAX_IN_SET:
        raise BadValue("create", f"with remove gives {len(create) + len(remove)} changes; give 1 to {MAX_IN_SET}")
    actor = actor_of(request)
    rules = await _rules_of(deps, create, actor)
    await _check_removals(deps, rules, remove, actor)
    await _check_own(deps, rules, actor)
    now = now_ms()
    about = RuleSet(f"{now:012x}{secrets.token_hex(5)}", now, "", actor.tenant)
    made = await deps.set_orders.put(about, rules, remove, actor, wait_of(request, asked), asked.until)
    placed, effect = made.placed, made.effect
    request.app[KEPT].keep(placed.removed)
    with order_made(effect.rule):
        status = 200 if await reached(deps, effect, asked.until) else 202
        found = SetOfRules(
            **_known(about.id, effect),
            rules=[rule.id for rule in placed.rules],
            removed=[rule.id for rule in placed.removed],
            standing=len(placed.rules),
            created=placed.created,
            **await shown_effect(deps, effect),
        )
    return json_response(found, status, {"Location": f"/v1/errors/bulk/{about.id}"})


async def _rules_of(deps: Dependencies, create: Sequence[Any], actor: Actor) -> list[Rule]:
    """The rules, with ids that sort in the order of the request. Raises BadValue, and Problem 403, that name item and
    field."""
    now = now_ms()
    start = f"{now:012x}{secrets.token_hex(3)}"
    rules: list[Rule] = []
    places: dict[Selectors, int] = {}
    async for some in deps.turns.slices(create):
        for item in some:
            at = len(rules)
            name = f"create[{at}]"
            if not isinstance(item, dict):
                raise BadValue(name, "is not an object with the fields of a forced error")
            for bound in BOUNDS:
                if item.get(bound) is not None:
                    raise BadValue(f"{name}.{bound}", "cannot be given in an order for many rules; order it alone")
            try:
                rule = read_rule({key: value for key, value in item.items() if value is not None}, deps.node, now)
                rule = ordered(rule, actor)
            except BadValue as bad:
                raise BadValue(f"{name}.{bad.field}", bad.reason) from None
            except Problem as problem:
                raise Problem(problem.status, str(problem), f"{name}.{problem.field}") from None
            twin = places.setdefault(rule.selectors, at)
            if twin != at:
                raise BadValue(name, f"has the selectors of create[{twin}]; give them once")
            rules.append(msgspec.structs.replace(rule, id=f"{start}{at:04x}", created_at=now))
    return rules


async def _check_own(deps: Dependencies, rules: Sequence[Rule], actor: Actor) -> None:
    """Raises Problem 403 where a bound token would replace a rule of the operator."""
    if actor.tenant:
        table = await deps.catalogue.table()
        for known_id in await deps.rules.ids_of(rules):
            if (known := table.rule(known_id)) is not None:
                require_own(known, actor)


async def _check_removals(deps: Dependencies, rules: Sequence[Rule], remove: Sequence[Any], actor: Actor) -> None:
    """Raises BadValue for an id that cannot be removed, and for a rule that is made and removed at once."""
    if not remove:
        return
    table = await deps.catalogue.table()
    places: dict[str, int] = {}
    for at, rule_id in enumerate(remove):
        name = f"remove[{at}]"
        known = table.rule(rule_id) if isinstance(rule_id, str) else None
        if known is None or known.kind is not Kind.ERROR or not sees(actor, known):
            raise BadValue(name, "is not the id of a forced error; see GET /v1/errors?enabled=all")
        require_own(known, actor)
        if places.setdefault(rule_id, at) != at:
            raise BadValue(name, f"is remove[{places[rule_id]}], too; give it once")
    for at, known_id in enumerate(await deps.rules.ids_of(rules)):
        if known_id in places:
            raise BadValue(f"create[{at}]", f"has the selectors of remove[{places[known_id]}]; leave one of them out")


async def show(request: web.Request) -> web.Response:
    """Show a set with its effect."""
    read_no_query(request)
    deps = dependencies.of(request)
    stored, standing, effect = await _stored(request)
    found = SetOfRules(
        **_known(stored.set.id, effect),
        rules=list(stored.members.made),
        removed=list(stored.members.removed),
        standing=len(standing),
        **await shown_effect(deps, effect),
    )
    return json_response(found)


async def statement(request: web.Request) -> web.Response:
    """The statement of a set: the sums over the rules that it made."""
    read_no_query(request)
    deps = dependencies.of(request)
    stored, standing, effect = await _stored(request)
    sweep = await deps.sweeps.sweep(stored.set.id) or stored.sweep
    accounts = Accounts(deps.rules, deps.sets, deps.books, now_ms)
    return json_response(await accounts.of_set(effect, stored, standing, sweep))


async def _stored(request: web.Request) -> tuple[StoredSet, list[Rule], Effect]:
    """The set, its rules that stand as it made them, and its effect. Raises Problem 404."""
    deps = dependencies.of(request)
    stored = await deps.sets.stored_set(request.match_info["id"])
    if stored is None or not actor_of(request).sees(stored.set.owner):
        raise Problem(404, "there is no set of forced errors with this id; it may have been forgotten")
    standing = await deps.rules.standing(stored.set.id, stored.members.made)
    return stored, standing, await deps.set_orders.effect(stored, standing)


def _known(set_id: str, effect: Effect) -> dict[str, Any]:
    rule = effect.rule
    return {
        "id": set_id,
        "created_at": shown(rule.created_at),
        "created_by": rule.created_by,
        "generation": rule.generation,
    }
