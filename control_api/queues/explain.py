"""The rule that decides about mail, the reason why each other does not, and the limits that hold the mail up."""

from typing import NamedTuple

from aiohttp import web

from control_api import dependencies
from control_api.dependencies import Dependencies
from control_api.http.operation import Answer, Example, Operation
from control_api.http.problems import json_response
from control_api.http.query import read_query
from control_api.http.times import now_ms, shown
from control_api.queues.limits_in_use import limits_of
from control_api.queues.listing import Facts, facts_of, shown_queue
from control_api.queues.warm_ups import warm_ups_of
from control_api.schemas.explain import (
    ExplainedRule,
    ExplainQuery,
    Explanation,
    Limit,
    Limits,
    LimitsQuery,
)
from mta.model.mail import QueueKey
from mta.model.rules import Kind, Rule
from mta.model.scopes import Scope
from mta.model.statements import selectors_shown
from mta.model.units import format_time
from mta.policy.limits_in_force import LimitInForce, ceiling
from mta.policy.rule_effect import ends, holds
from mta.policy.rule_mismatch import MailDescription, mismatches
from mta.policy.rule_table import RuleTable, rank
from mta.policy.statement_text import selectors_text


async def show_limits(request: web.Request) -> web.Response:
    """The limits of one queue."""
    asked = read_query(request, LimitsQuery)
    deps, queue, now = dependencies.of(request), QueueKey(asked.pool, asked.domain), now_ms()
    site = await _site(deps, queue)
    limits = await _limits(deps, queue, site, now)
    plan = deps.shaping.plan(queue, site or "")
    answer = Limits(
        as_of=format_time(now),
        pool=queue.pool,
        domain=queue.domain,
        site=site,
        limits=[shown_limit(limit) for limit in limits],
        ceiling=_name(ceiling(limits)),
        retries=list(plan.retries),
        max_attempts=plan.max_attempts,
    )
    return json_response(answer)


async def explain(request: web.Request) -> web.Response:
    """`GET /v1/explain`: the rule and the limits that decide about mail of this kind."""
    asked = read_query(request, ExplainQuery)
    deps, queue, now = dependencies.of(request), QueueKey(asked.pool, asked.domain), now_ms()
    site = await _site(deps, queue)
    mail = MailDescription(asked.pool, asked.domain, asked.tags, asked.tenant or "", asked.mta or "", site or "")
    table = await deps.catalogue.readable()
    judged = await _judged(deps, table, mail, now)
    winner = table.match(mail.pool, mail.mta, mail.domain, mail.labels, site=site)
    limits = await _limits(deps, queue, site, now)
    found = await deps.books.queues(queue.pool, queue.domain)
    facts = await facts_of(deps, [queue], now, of_cluster=True) if found else Facts(table, now)
    shown_rules = [_explained(one, winner) for one in judged[: asked.limit]]
    answer = Explanation(
        as_of=format_time(now),
        decides=None if winner is None else winner.id,
        effect="it is delivered" if winner is None else effect_text(winner),
        rules=shown_rules,
        others=len(judged) - len(shown_rules),
        site=site,
        limits=[shown_limit(limit) for limit in limits],
        ceiling=_name(ceiling(limits)),
        queue=shown_queue(found[0], facts) if found else None,
        next_attempt=shown(found[0].next_due) if found else None,
    )
    return json_response(answer)


class _Judged(NamedTuple):
    """A rule, and why it does not match."""

    rule: Rule
    why: list[str]


async def _judged(deps: Dependencies, table: RuleTable, mail: MailDescription, now: int) -> list[_Judged]:
    """All rules: the winner first, then the others that match, then those that lack least."""
    found: list[_Judged] = []
    async for some in deps.turns.slices(list(table.rules())):
        found += [_Judged(rule, mismatches(rule, mail, table, now)) for rule in some]
    found.sort(key=lambda one: rank(one.rule), reverse=True)
    found.sort(key=lambda one: len(one.why))  # stable: by rank where as much is lacking
    return found


def _explained(judged: _Judged, winner: Rule | None) -> ExplainedRule:
    rule, why = judged
    decides = winner is not None and rule.id == winner.id
    if decides:
        why = ["it matches, and no other rule that does ranks higher"]
    elif not why and winner is not None:
        why = [f"it matches, and {winner.id} ranks higher"]
    return ExplainedRule(
        rule=rule.id,
        kind=rule.kind.value,
        selectors=selectors_text(selectors_shown(rule.selectors), "everything"),
        effect=effect_text(rule),
        matches=not judged.why,
        decides=decides,
        why=why,
    )


def effect_text(rule: Rule) -> str:
    """The effect of the rule on mail, for people."""
    if rule.kind is Kind.TENANT:
        return "it is held, because its tenant is suspended"
    if holds(rule):
        return "it is held"
    words = " ".join(str(part) for part in (rule.code, rule.extended, rule.description) if part)
    return f"it ends with {words}" if ends(rule) else f"its attempts are deferred with {words}"


async def _site(deps: Dependencies, queue: QueueKey) -> str | None:
    return (await deps.sites.find((queue.domain,))).get(queue.domain)


async def _limits(deps: Dependencies, queue: QueueKey, site: str | None, now: int) -> list[LimitInForce]:
    sites = {} if site is None else {queue.domain: site}
    found = (await limits_of(deps, (queue,), sites, now, with_ips=True)).get(queue, [])
    return [*found, *await warm_ups_of(deps, queue, site, now)]


def shown_limit(limit: LimitInForce) -> Limit:
    return Limit(
        name=limit.name,
        value=limit.value,
        used=limit.used,
        free_at=shown(limit.free_at),
        binds=limit.binds,
        setting=limit.setting,
        order=limit.order,
        scope=limit.scope,
    )


def _name(limit: LimitInForce | None) -> str | None:
    return None if limit is None else limit.name


OPERATIONS = (
    Operation(
        "GET",
        "/v1/explain",
        explain,
        "explain",
        "The rule that decides about mail, the reason why each other does not, and the limits that hold it up",
        (Answer(200, Explanation, "the explanation"),),
        Example("/v1/explain?pool=default&domain=example.com&tag=spring-sale"),
        description="The answer names selectors that only an attempt or a single message can decide as such.",
        scope=Scope.ADMIN,
        query=ExplainQuery,
    ),
    Operation(
        "GET",
        "/v1/limits",
        show_limits,
        "showLimits",
        "The limits of a pool and domain, their use, and which of them holds mail up",
        (Answer(200, Limits, "the limits that are set"),),
        Example("/v1/limits?pool=default&domain=example.com"),
        description="The values come from the settings of the node that answers; the use counts all nodes.",
        scope=Scope.ADMIN,
        query=LimitsQuery,
    ),
)
