"""The queues as a list, page by page: counts by class, ages, and why each queue waits."""

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from aiohttp import web
from msgspec import UNSET, UnsetType

from control_api import dependencies
from control_api.access.actor import actor_of
from control_api.dependencies import Dependencies
from control_api.http.operation import Answer, Example, Operation
from control_api.http.problems import json_response
from control_api.http.query import read_query
from control_api.http.times import now_ms, shown
from control_api.queues.limits_in_use import limits_of
from control_api.queues.tenancy import tenant_of
from control_api.schemas.queries import QueuesQuery
from control_api.schemas.queue_answers import LastReply, Queue, Queues, WhyQueued
from control_api.schemas.values import cursor_of
from mta.model.connection_waits import read_waits
from mta.model.mail import QueueKey, Record
from mta.model.outcomes import Reply, ReturnReason
from mta.model.queue_figures import Failure, ToldRates, read_failures, read_rates
from mta.model.scopes import Scope
from mta.model.text import visible
from mta.model.units import format_time
from mta.policy.limits_in_force import LimitInForce
from mta.policy.rule_table import RuleTable
from mta.policy.served_pools import unserved, why_it_waits
from mta.ports.books import QueueCounts
from mta.ports.queue_work import MailSelection
from mta.ports.sites import of_site
from mta.scheduling.returns import returned_lately

_MAX_REPLY = 200  # characters of a remote reply in a list


async def list_queues(request: web.Request) -> web.Response:
    """A page of the queues, by pool and domain."""
    asked = read_query(request, QueuesQuery)
    after = None if asked.cursor is None else QueueKey(*asked.cursor)
    deps, actor = dependencies.of(request), actor_of(request)
    tenant = tenant_of(actor, asked.tenant)
    as_of = now_ms()
    if asked.tag is None:
        found = await deps.books.queues(asked.pool, asked.domain, after, asked.limit + 1, tenant)
        page = found[: asked.limit]
        behind = page[-1].queue if len(found) > asked.limit else None
    else:
        selection = MailSelection(asked.pool, asked.domain, asked.tag, tenant, asked.site)
        page, behind = await deps.queue_work.counts(selection, after, asked.limit)
    if asked.site is not None and asked.tag is None:
        domains = await of_site(deps.sites, asked.site, [counts.queue.domain for counts in page])
        page = [counts for counts in page if counts.queue.domain in domains]
    facts = await facts_of(deps, [counts.queue for counts in page], as_of, of_cluster=not actor.tenant)
    queues: list[Queue] = []
    async for some in deps.turns.slices(page):
        queues += [shown_queue(counts, facts) for counts in some]
    cursor = None if behind is None else cursor_of(*behind)
    return json_response(Queues(as_of=format_time(as_of), queues=queues, cursor=cursor))


class Facts(NamedTuple):
    """All that the list shows of the queues of a page, except their counts."""

    table: RuleTable
    now: int  # Unix ms
    unserved_pools: Collection[str] = ()  # pools that no worker serves
    returns: Mapping[QueueKey, Mapping[ReturnReason, int]] = MappingProxyType({})  # in the last minute
    waits: Mapping[QueueKey, int] = MappingProxyType({})  # deliveries that wait in workers for a connection
    rates: ToldRates | None = None  # None: the actor may not see rates
    failures: Mapping[QueueKey, Failure] = MappingProxyType({})
    limits: Mapping[QueueKey, Sequence[LimitInForce]] = MappingProxyType({})
    sites: Mapping[str, str] = MappingProxyType({})  # by domain


async def facts_of(deps: Dependencies, queues: Sequence[QueueKey], now: int, *, of_cluster: bool) -> Facts:
    """Without `of_cluster`, facts that tell of other tenants' mail are left out."""
    table = await deps.catalogue.readable()
    sessions = await deps.rules.sessions()
    unserved_pools = unserved({queue.pool for queue in queues}, sessions)
    sites = await deps.sites.find(queue.domain for queue in queues)
    if not of_cluster:
        return Facts(table, now, unserved_pools, sites=sites)
    workers = [state.metrics for state in sessions.values() if not state.dead]
    return Facts(
        table,
        now,
        unserved_pools,
        returned_lately(workers),
        read_waits(workers),
        read_rates(workers),
        read_failures(workers),
        await limits_of(deps, queues, sites, now),
        sites,
    )


def shown_queue(counts: QueueCounts, facts: Facts) -> Queue:
    """`oldest` is in seconds since acceptance; null where nothing is in the queue, as is `next_due`."""
    queue, now = counts.queue, facts.now
    why = reasons_to_wait(counts, facts.table, queue.pool in facts.unserved_pools, facts.waits.get(queue, 0))
    why += [_because("limit", counts.due, limit.words) for limit in facts.limits.get(queue, ()) if limit.binds]
    return Queue(
        pool=queue.pool,
        domain=queue.domain,
        site=facts.sites.get(queue.domain),
        due=counts.due,
        scheduled=counts.scheduled,
        claimed=counts.claimed,
        held=counts.held,
        parked=counts.parked,
        oldest=round(max(0, now - counts.oldest) / 1000, 3) if counts.oldest else None,
        next_due=shown(counts.next_due),
        rate=None if facts.rates is None else facts.rates.of(queue),
        last_reply=_last_reply(counts, facts.failures.get(queue)),
        why=why + reasons_of_returns(facts.returns.get(queue, {})),
    )


def _last_reply(counts: QueueCounts, failure: Failure | None) -> LastReply | UnsetType:
    """The reply to the last failed attempt: a worker tells it, else the record of a delivery that waits has it."""
    if failure is not None:
        at, mx, reply = failure
        return _reply(reply, shown(round(at * 1000)) or UNSET, visible(mx) or UNSET)
    if counts.tried is not None and counts.tried.last is not None:
        return _reply(counts.tried.last)
    return UNSET


def _reply(reply: Reply, at: str | UnsetType = UNSET, mx: str | UnsetType = UNSET) -> LastReply:
    text = visible(reply.text)[:_MAX_REPLY]
    return LastReply(code=reply.code or UNSET, enhanced=visible(reply.enhanced) or UNSET, text=text, mx=mx, at=at)


def reasons_to_wait(counts: QueueCounts, table: RuleTable, unserved_pools: bool, waits: int = 0) -> list[WhyQueued]:
    """One entry for each reason: its name, how many deliveries it concerns, and a text for people."""
    found: list[WhyQueued] = []
    for pause, held in sorted(counts.pauses.items()):
        rule = table.rule(pause)
        because = "" if rule is None or not rule.reason else f" ({rule.reason})"
        found.append(WhyQueued(reason="held", count=held, rule=pause, text=f"held by pause {pause}{because}"))
    if unserved_pools and counts.due + counts.scheduled:
        found.append(_because("unserved", counts.due + counts.scheduled, why_it_waits(counts.queue.pool)))
        return found
    waits = min(waits, counts.claimed)  # a worker told it up to a second ago
    if waits:
        found.append(
            _because(
                "connection",
                waits,
                "waits for a connection: a worker has it, and all to its destination are busy or not open yet",
            )
        )
    if counts.claimed > waits:
        found.append(_because("claimed", counts.claimed - waits, "a worker delivers it now"))
    if counts.due:
        found.append(_because("due", counts.due, _after_reply("due, and no worker has taken it yet", counts.first)))
    if counts.scheduled:
        kind, words = _later(None if counts.due else counts.first)
        found.append(_because(kind, counts.scheduled, words))
    return found


def reasons_of_returns(returns: Mapping[ReturnReason, int]) -> list[WhyQueued]:
    """The reasons for which workers put claimed deliveries back. A delivery that was put back twice counts twice."""
    return [
        _because(reason.value, count, f"put back into the queue in the last minute: {reason.words}")
        for reason, count in sorted(returns.items())
    ]


def _because(reason: str, count: int, text: str) -> WhyQueued:
    return WhyQueued(reason=reason, count=count, text=text)


def _later(first: Record | None) -> tuple[str, str]:
    """The reason of the delivery that is due first; other deliveries of the queue may have another."""
    if first is None:
        return "later", "due later: a retry, or a time that the sender asked for"
    if first.attempts or first.last is not None:
        return "retry", _after_reply("due for its next attempt later", first)
    if first.window is not None:
        return "window", "due when the sending window of its message opens"
    if first.scheduled_at:
        return "scheduled", "due at the time that the sender asked for"
    return "later", "due later"


def _after_reply(words: str, first: Record | None) -> str:
    """`words` with the reply to the last attempt of the first delivery."""
    if first is None or not (first.attempts or first.last):
        return words
    attempts = f"{first.attempts} attempt" + ("s" if first.attempts > 1 else "")
    if first.last is None:
        return f"{words} ({attempts} of the first so far)"
    if not first.attempts:
        attempts = "no attempt"
    reply = " ".join(str(part) for part in (first.last.code, first.last.enhanced, first.last.text) if part)
    return f"{words} ({attempts} of the first so far, the last ended with: {visible(reply)[:_MAX_REPLY]})"


LIST = Operation(
    "GET",
    "/v1/queues",
    list_queues,
    "listQueues",
    "The queues with their counts",
    (Answer(200, Queues, "by pool and domain"),),
    Example("/v1/queues?domain=example.com"),
    scope=Scope.QUEUES_READ,
    for_tenants=True,
    refusals=(404,),
    query=QueuesQuery,
)
