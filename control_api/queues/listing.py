"""The queues as a list, page by page: counts by class, ages, and why each queue waits."""

from collections.abc import Mapping
from types import MappingProxyType

from aiohttp import web

from control_api import dependencies
from control_api.http.operation import Answer, Example, Operation
from control_api.http.problems import json_response
from control_api.http.query import read_query
from control_api.http.times import now_ms, shown
from control_api.schemas.queries import QueuesQuery
from control_api.schemas.queue_answers import Queue, Queues, WhyQueued
from control_api.schemas.values import cursor_of
from mta.model.connection_waits import read_waits
from mta.model.mail import QueueKey, Record
from mta.model.outcomes import ReturnReason
from mta.model.scopes import Scope
from mta.model.text import visible
from mta.model.units import format_time
from mta.policy.rule_table import RuleTable
from mta.policy.served_pools import unserved, why_it_waits
from mta.ports.books import QueueCounts
from mta.scheduling.returns import returned_lately

_MAX_REPLY = 200  # characters of a remote reply in a list


async def list_queues(request: web.Request) -> web.Response:
    """A page of the queues, by pool and domain."""
    asked = read_query(request, QueuesQuery)
    after = None if asked.cursor is None else QueueKey(*asked.cursor)
    deps = dependencies.of(request)
    as_of = now_ms()
    found = await deps.books.queues(asked.pool, asked.domain, after, asked.limit + 1)
    table = await deps.catalogue.readable()
    page = found[: asked.limit]
    sessions = await deps.rules.sessions()
    nobodys = unserved({counts.queue.pool for counts in page}, sessions)
    workers = [state.metrics for state in sessions.values() if not state.dead]
    returns, waits = returned_lately(workers), read_waits(workers)
    cursor = cursor_of(*page[-1].queue) if len(found) > len(page) else None
    queues = [
        shown_queue(
            counts,
            table,
            as_of,
            counts.queue.pool in nobodys,
            returns.get(counts.queue, {}),
            waits[counts.queue],
        )
        for counts in page
    ]
    return json_response(Queues(as_of=format_time(as_of), queues=queues, cursor=cursor))


def shown_queue(
    counts: QueueCounts,
    table: RuleTable,
    now: int,
    nobodys: bool,
    returns: Mapping[ReturnReason, int] = MappingProxyType({}),
    waits: int = 0,
) -> Queue:
    """`oldest` is in seconds since acceptance; null where nothing is in the queue, as is `next_due`.

    `nobodys`: no worker serves its pool. `returns`: how many deliveries workers have put back in the last minute.
    `waits`: how many wait in workers for a connection.
    """
    return Queue(
        pool=counts.queue.pool,
        domain=counts.queue.domain,
        due=counts.due,
        scheduled=counts.scheduled,
        claimed=counts.claimed,
        held=counts.held,
        oldest=round(max(0, now - counts.oldest) / 1000, 3) if counts.oldest else None,
        next_due=shown(counts.next_due),
        why=reasons_to_wait(counts, table, nobodys, waits) + reasons_of_returns(returns),
    )


def reasons_to_wait(counts: QueueCounts, table: RuleTable, nobodys: bool, waits: int = 0) -> list[WhyQueued]:
    """One entry for each reason: its name, how many deliveries it concerns, and a text for people."""
    found: list[WhyQueued] = []
    for pause, held in sorted(counts.pauses.items()):
        rule = table.rule(pause)
        because = "" if rule is None or not rule.reason else f" ({rule.reason})"
        found.append(WhyQueued(reason="held", count=held, rule=pause, text=f"held by pause {pause}{because}"))
    if nobodys and counts.due + counts.scheduled:
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
    """Why workers have put deliveries back that they had claimed. One that was put back twice counts twice."""
    return [
        _because(reason.value, count, f"put back into the queue in the last minute: {reason.words}")
        for reason, count in sorted(returns.items())
    ]


def _because(reason: str, count: int, text: str) -> WhyQueued:
    return WhyQueued(reason=reason, count=count, text=text)


def _later(first: Record | None) -> tuple[str, str]:
    """The reason is that of the delivery which is due first; others of the queue may have another."""
    if first is None:
        return "later", "due later: a retry, or a time that the sender asked for"
    if first.attempts:
        return "retry", _after_reply("due for its next attempt later", first)
    if first.scheduled_at:
        return "scheduled", "due at the time that the sender asked for"
    return "later", "due later"


def _after_reply(words: str, first: Record | None) -> str:
    """With the reply that the last attempt of the first delivery ended with."""
    if first is None or not first.attempts:
        return words
    attempts = f"{first.attempts} attempt" + ("s" if first.attempts > 1 else "")
    if first.last is None:
        return f"{words} ({attempts} of the first so far)"
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
    query=QueuesQuery,
)
