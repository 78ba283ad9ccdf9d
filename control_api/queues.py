"""The queues as a list: counts by class, the earliest due time, page by page."""

from aiohttp import web

from control_api import dependencies
from control_api.problems import json_response
from control_api.query import cursor_of, read_cursor, read_limit, read_query
from control_api.rule_body import read_domain, read_pool
from control_api.times import now_ms, shown
from mta.model.mail import QueueKey
from mta.rules.unserved import unserved, why_it_waits

DEFAULT_LIMIT = 100


async def list_queues(request: web.Request) -> web.Response:
    """GET /v1/queues?pool=&domain=&limit=&cursor="""
    asked = read_query(request, ("pool", "domain", "limit", "cursor"))
    limit = read_limit(asked.get("limit"), DEFAULT_LIMIT) or DEFAULT_LIMIT
    after = read_cursor(asked.get("cursor"), 2)
    pool = read_pool(asked["pool"], "pool") if "pool" in asked else None
    domain = read_domain(asked["domain"], "domain") if "domain" in asked else None
    as_of = now_ms()
    found = [
        counts
        for counts in sorted(await dependencies.of(request).books.queues())
        if (pool is None or counts.queue.pool == pool)
        and (domain is None or counts.queue.domain == domain)
        and (after is None or counts.queue > QueueKey(*after))
    ]
    page = found[:limit]
    pools = {counts.queue.pool for counts in page}
    nobodys = set(unserved(pools, await dependencies.of(request).rules.sessions()))
    queues = [
        {
            "pool": counts.queue.pool,
            "domain": counts.queue.domain,
            "due": counts.due,
            "scheduled": counts.scheduled,
            "claimed": counts.claimed,
            "oldest": shown(counts.oldest),
        }
        | ({"waits": why_it_waits(counts.queue.pool)} if counts.queue.pool in nobodys else {})
        for counts in page
    ]
    cursor = cursor_of(*page[-1].queue) if len(found) > len(page) else None
    return json_response({"as_of": shown(as_of), "queues": queues, "cursor": cursor})
