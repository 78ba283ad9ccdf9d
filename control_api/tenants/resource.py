"""The terms of tenants over REST. They are a kind of rule: its protocol puts them in force everywhere, and the audit
notes each change of them."""

import secrets
from typing import Any

import msgspec
from aiohttp import web
from msgspec import UNSET

from control_api import dependencies
from control_api.access.actor import actor_of
from control_api.dependencies import Dependencies
from control_api.http.bodies import read_fields
from control_api.http.conditions import IF_MATCH, generations
from control_api.http.operation import BODY_REFUSALS, Answer, Example, Group, Operation, Parameter, a_parameter
from control_api.http.problems import Problem, json_response
from control_api.http.query import read_no_query, read_query
from control_api.http.times import now_ms, shown
from control_api.rules.resource import order_made, wait_of
from control_api.rules.view import shown_effect
from control_api.schemas.account_values import TENANT_NAME
from control_api.schemas.answers import known
from control_api.schemas.queries import OrderQuery, TenantsQuery, WaitQuery
from control_api.schemas.tenant_shapes import (
    TENANT_TERMS,
    QuotaLeft,
    Tenant,
    TenantInForce,
    TenantQuota,
    Tenants,
)
from mta.model.quotas import DAY_HOURS, HOUR_MS, Quota, left_of
from mta.model.rules import Kind, Rule, Selectors
from mta.model.scopes import Scope
from mta.model.units import format_time
from mta.policy.tenant_terms import is_suspended
from mta.ports.orders import Effect


async def list_tenants(request: web.Request) -> web.Response:
    """By name, those that have terms."""
    asked, actor = read_query(request, TenantsQuery), actor_of(request)
    tenants = (await dependencies.of(request).catalogue.table()).tenants
    names = sorted(name for name in tenants if actor.sees(name) and (asked.cursor is None or name > asked.cursor))
    page = names[: asked.limit]
    cursor = page[-1] if len(names) > len(page) else None
    return json_response(Tenants(tenants=[Tenant(**_shown(tenants[name])) for name in page], cursor=cursor))


async def show_tenant(request: web.Request) -> web.Response:
    """The terms of the tenant in the path, and whether they are in force everywhere."""
    read_no_query(request)
    deps, name = dependencies.of(request), _name(request)
    terms = await _terms(deps, name)
    if terms is None or not actor_of(request).sees(name):
        raise _unknown(name)
    return await _answer(deps, await deps.orders.effect(terms), 200)


async def put_tenant(request: web.Request) -> web.Response:
    """Set all terms of the tenant. 201: it had none, 202: the event of `until` has not happened yet."""
    asked, name = read_query(request, OrderQuery), _name(request)
    given = TENANT_TERMS.read(await read_fields(request, TENANT_TERMS.lists()), "a term of a tenant")
    deps, actor = dependencies.of(request), actor_of(request)
    wait, wanted = wait_of(request, asked), generations(request)
    terms = {
        "enabled": given.get("state") == "suspended",
        "weight": given.get("weight", 1),
        "quota": given.get("quota"),
        "default_pool": given.get("pool", ""),
        "senders": given.get("senders", ()),
        "dkim_domain": given.get("dkim_domain", ""),
        "vars": given.get("vars", ()),
        "reason": given.get("reason", ""),
    }

    def edit(rule: Rule) -> Rule:
        if wanted is not None and not any(tag.value in ("*", str(rule.generation)) for tag in wanted):
            raise _changed(rule)
        edited: Rule = msgspec.structs.replace(rule, **terms)
        return edited

    there = await _terms(deps, name)
    effect = None if there is None else await deps.orders.edit(there.id, edit, actor, wait, asked.until)
    if effect is None:
        if wanted is not None:
            raise _changed(None)
        now = now_ms()
        rule_id = f"{now:012x}{secrets.token_hex(5)}"
        fresh = Rule(rule_id, Selectors(tenant=name), kind=Kind.TENANT, created_at=now, **terms)
        effect = await deps.orders.put(fresh, actor, wait, asked.until)
    with order_made(effect.rule):
        return await _answer(deps, effect, (201 if effect.created else 200) if effect.effective else 202)


async def delete_tenant(request: web.Request) -> web.Response:
    """Take the terms of the tenant away: it is active, with the defaults. Mail that was held is released."""
    asked, name = read_query(request, WaitQuery), _name(request)
    deps = dependencies.of(request)
    terms = await _terms(deps, name)
    wait = wait_of(request, asked)
    effect = None if terms is None else await deps.orders.remove(terms.id, actor_of(request), wait, Kind.TENANT)
    if effect is None:
        raise _unknown(name)
    with order_made(effect.rule):
        return await _answer(deps, effect, 200 if effect.effective else 202)


def _name(request: web.Request) -> str:
    name: str = TENANT_NAME.read(request.match_info["name"], "name")
    return name


async def _terms(deps: Dependencies, name: str) -> Rule | None:
    return (await deps.catalogue.table()).tenants.get(name)


def _unknown(name: str) -> Problem:
    return Problem(404, f"tenant {name} has no terms: it is active, with weight 1 and the defaults")


def _changed(rule: Rule | None) -> Problem:
    if rule is None:
        return Problem(412, "the tenant has no terms; leave If-Match out", "If-Match")
    words = f"the terms are at generation {rule.generation} by now; read them again"
    return Problem(412, words, "If-Match", {"ETag": f'"{rule.generation}"'})


def _shown(terms: Rule) -> dict[str, Any]:
    return {
        "name": terms.selectors.tenant,
        "state": "suspended" if is_suspended(terms) else "active",
        "weight": terms.weight,
        "quota": None if terms.quota is None else _shown_quota(terms.quota),
        "pool": terms.default_pool or None,
        "senders": list(terms.senders),
        "rule": terms.id,
        "generation": terms.generation,
        "created_at": shown(terms.created_at),
        "created_by": terms.created_by,
    } | known(
        {
            "dkim_domain": terms.dkim_domain or None,
            "vars": dict(terms.vars) or None,
            "reason": terms.reason or None,
            "changed_by": terms.changed_by or None,
        }
    )


async def _answer(deps: Dependencies, effect: Effect, status: int) -> web.Response:
    terms = effect.rule
    held = (await deps.books.rule(terms.id)).get("held", 0)
    left = UNSET if terms.quota is None else await _quota_left(deps, terms.selectors.tenant or "", terms.quota)
    found = TenantInForce(**_shown(terms), quota_left=left, held=held, **await shown_effect(deps, effect))
    return json_response(found, status, {"ETag": f'"{terms.generation}"'})


def _shown_quota(quota: Quota) -> TenantQuota:
    return TenantQuota(per_hour=quota.per_hour or None, per_day=quota.per_day or None)


async def _quota_left(deps: Dependencies, tenant: str, quota: Quota) -> QuotaLeft:
    use = await deps.quotas.used(tenant, now_ms() // HOUR_MS)
    left = left_of(quota, use)
    return QuotaLeft(
        hour=left.in_hour if quota.per_hour else None,
        day=left.in_day if quota.per_day else None,
        hour_ends_at=format_time((use.hour + 1) * HOUR_MS),
        day_ends_at=format_time((use.hour // DAY_HOURS + 1) * DAY_HOURS * HOUR_MS),
    )


_NAME = a_parameter("name", TENANT_NAME)
_ETAG = Parameter("ETag", {"type": "string"}, "the generation, for If-Match")
_LATER = "stored; the event that the answer waits for has not happened yet"
_PATH = "/v1/tenants/{name}"
_TERMS = {"state": "suspended", "weight": 2, "senders": ["example.com"], "vars": {"brand": "Example"}}

OPERATIONS = Group(
    "Tenants",
    "The terms of tenants. A tenant needs none: its mail names it.",
    (
        Operation(
            "GET",
            "/v1/tenants",
            list_tenants,
            "listTenants",
            "The tenants that have terms",
            (Answer(200, Tenants, "by name"),),
            Example("/v1/tenants"),
            scope=Scope.ADMIN,
            for_tenants=True,
            query=TenantsQuery,
        ),
        Operation(
            "GET",
            _PATH,
            show_tenant,
            "showTenant",
            "The terms of one tenant",
            (Answer(200, TenantInForce, "the terms", (_ETAG,)),),
            Example("/v1/tenants/$TENANT"),
            scope=Scope.ADMIN,
            for_tenants=True,
            refusals=(404, 409),
            path_values=(_NAME,),
        ),
        Operation(
            "PUT",
            _PATH,
            put_tenant,
            "setTenant",
            "Set the terms of one tenant; suspend it, or let it go on",
            (
                Answer(200, TenantInForce, "replaced and effective", (_ETAG,)),
                Answer(201, TenantInForce, "made and effective", (_ETAG,)),
                Answer(202, TenantInForce, _LATER, (_ETAG,)),
            ),
            Example("/v1/tenants/$TENANT?wait=5s", _TERMS),
            scope=Scope.ADMIN,
            refusals=(*BODY_REFUSALS, 409, 412),
            path_values=(_NAME,),
            headers=(IF_MATCH,),
            query=OrderQuery,
            body=TENANT_TERMS,
        ),
        Operation(
            "DELETE",
            _PATH,
            delete_tenant,
            "removeTenant",
            "Take the terms of one tenant away: it is active",
            (Answer(200, TenantInForce, "removed"), Answer(202, TenantInForce, _LATER)),
            Example("/v1/tenants/$TENANT?wait=5s"),
            scope=Scope.ADMIN,
            refusals=(404, 409),
            path_values=(_NAME,),
            query=WaitQuery,
        ),
    ),
)
