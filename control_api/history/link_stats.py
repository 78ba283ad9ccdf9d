"""Statistics of clicks: how often each link in tracked mail was followed, by day."""

from typing import Final

from aiohttp import web

from control_api import dependencies
from control_api.access.actor import actor_of
from control_api.history.selection import tenant_of
from control_api.http.problems import json_response
from control_api.http.times import now_ms
from control_api.schemas.history_answers import LinkClicks, LinkStatistics
from control_api.schemas.history_queries import StatsQuery
from mta.model.errors import BadValue
from mta.model.units import format_time

_DAY_MS: Final = 86_400_000

Key = tuple[int, str, str]  # day, tenant, link


async def show_links(request: web.Request, asked: StatsQuery) -> web.Response:
    """The clicks from the day of `from` to that of `until`."""
    if asked.by != ("link",):
        raise BadValue("by", "link takes no other group; ask for it alone")
    if asked.interval is not None:
        raise BadValue("interval", "clicks of links are counted by day; leave it out")
    tenant = tenant_of(actor_of(request), asked.tenant)
    now = now_ms()
    until = now if asked.until is None else asked.until
    since = until - _DAY_MS if asked.since is None else asked.since
    counts: dict[Key, list[int]] = {}
    for day in await dependencies.of(request).engagement.click_days(since // _DAY_MS, until // _DAY_MS):
        for one, many in day.clicks.items():
            if tenant in (None, one.tenant):
                counts.setdefault((day.day, one.tenant, one.link), [0, 0])[one.is_machine] += many
    found = sorted(counts.items(), key=lambda one: (-one[0][0], -one[1][0], one[0]))
    stats = [
        LinkClicks(begins=format_time(day * _DAY_MS), tenant=of, link=link, clicked=readers, machine_clicked=machines)
        for (day, of, link), (readers, machines) in found[: asked.limit]
    ]
    return json_response(
        LinkStatistics(
            as_of=format_time(now),
            since=format_time(since),
            until=format_time(until),
            stats=stats,
            truncated=len(found) > len(stats),
        )
    )
