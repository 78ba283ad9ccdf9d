"""Statistics of TLS: how the connections to each domain came to TLS, by day, host and result."""

from typing import Final

from aiohttp import web
from msgspec import UNSET

from control_api import dependencies
from control_api.access.actor import actor_of
from control_api.http.problems import Problem, json_response
from control_api.http.times import now_ms
from control_api.schemas.history_answers import TlsSessions, TlsStatistics
from control_api.schemas.history_queries import StatsQuery
from mta.model.errors import BadValue
from mta.model.units import format_time

_DAY_MS: Final = 86_400_000


async def show_tls(request: web.Request, asked: StatsQuery) -> web.Response:
    """The results from the day of `from` to that of `until`."""
    if asked.by != ("tls",):
        raise BadValue("by", "tls takes no other group; ask for it alone")
    if asked.interval is not None:
        raise BadValue("interval", "tls is counted by day; leave it out")
    actor = actor_of(request)
    if actor.tenant or asked.tenant is not None:
        raise Problem(403, "connections belong to no tenant; ask with a token that is bound to none", "tenant")
    now = now_ms()
    until = now if asked.until is None else asked.until
    since = until - _DAY_MS if asked.since is None else asked.since
    days = await dependencies.of(request).tls_results.days(since // _DAY_MS, until // _DAY_MS)
    found = [
        (day.day, many, result)
        for day in reversed(days)
        for result, many in sorted(day.sessions.items(), key=lambda one: (-one[1], one[0]))
    ]
    stats = [
        TlsSessions(
            begins=format_time(day * _DAY_MS), domain=result.domain, policy=result.policy, mx=result.mx or UNSET,
            result=result.result, sessions=many,
        )
        for day, many, result in found[: asked.limit]
    ]  # fmt: skip
    return json_response(
        TlsStatistics(
            as_of=format_time(now), since=format_time(since), until=format_time(until), stats=stats,
            truncated=len(found) > len(stats),
        )
    )  # fmt: skip
