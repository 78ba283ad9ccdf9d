"""Statistics: how many deliveries were accepted and how they ended, by hour and by pool, domain, site and more."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Final

from aiohttp import web
from msgspec import UNSET

from control_api import dependencies
from control_api.access.actor import actor_of
from control_api.dependencies import Dependencies
from control_api.history.link_stats import show_links
from control_api.history.selection import tenant_of
from control_api.history.tls_stats import show_tls
from control_api.http.operation import Answer, Example, Operation
from control_api.http.problems import json_response
from control_api.http.query import read_query
from control_api.http.times import now_ms
from control_api.schemas.history_answers import LinkStatistics, Statistics, Stats, TlsStatistics
from control_api.schemas.history_queries import StatsQuery
from mta.model.events import EventType
from mta.model.scopes import Scope
from mta.model.status import SUPPRESSED, DeliveryRow, Reason, Standing, Status
from mta.model.units import format_time
from mta.ports.history import MOST_ROWS, RowFilter
from mta.ports.history_writer import DAY_MS, HOUR_MS

_MOST_COUNTED: Final = 500_000  # deliveries of an answer by tag, which takes some seconds then

# The figure that an event counts for.
_OF_EVENT: Final = {
    EventType.RECEPTION: "accepted",
    EventType.DELIVERY: "delivered",
    EventType.BOUNCE: "bounced",
    EventType.EXPIRATION: "expired",
    EventType.INTERCEPTED: "intercepted",
    EventType.CANCELLATION: "canceled",
    EventType.FILTERED: "filtered",
    EventType.THROTTLED: "throttled",
    EventType.SIMULATED: "simulated",
    EventType.TRANSIENT_FAILURE: "deferred",
    EventType.REJECTION: "rejected",
    EventType.REINSTATED: "undone",
    EventType.OPEN: "opened",
    EventType.CLICK: "clicked",
}
# The figure of a delivery that stands so. Deliveries that stand otherwise count as accepted only.
_OF_STANDING: Final = {
    Standing(Status.SENT): "delivered",
    Standing(Status.DELIVERED): "delivered",
    Standing(Status.UNDELIVERABLE, Reason.BOUNCED): "bounced",
    Standing(Status.UNDELIVERABLE, Reason.UNROUTABLE): "bounced",
    Standing(Status.UNDELIVERABLE, Reason.EXPIRED): "expired",
    Standing(Status.UNDELIVERABLE, Reason.INTERCEPTED): "intercepted",
    Standing(Status.CANCELED): "canceled",
    **{Standing(Status.FILTERED, reason): "filtered" for reason in SUPPRESSED},
    Standing(Status.THROTTLED): "throttled",
    Standing(Status.SIMULATED): "simulated",
}

_GROUPS: Final = ("tag", "pool", "domain", "site", "tenant", "category")

Key = tuple[int, str, str, str, str, str, str]  # begin (Unix ms), and a value for each of the groups
_Figures = dict[Key, Counter[str]]


async def show_stats(request: web.Request) -> web.Response:
    """The figures of each period and each group, the largest group of a period first."""
    asked = read_query(request, StatsQuery)
    if "tls" in asked.by:
        return await show_tls(request, asked)
    if "link" in asked.by:
        return await show_links(request, asked)
    deps, tenant = dependencies.of(request), tenant_of(actor_of(request), asked.tenant)
    now = now_ms()
    until = -(-(now if asked.until is None else asked.until) // HOUR_MS) * HOUR_MS
    since = (until - DAY_MS if asked.since is None else asked.since) // HOUR_MS * HOUR_MS
    interval = round((asked.interval or 0) * 1000)
    as_of = (await deps.history.coverage()).as_of
    figures: _Figures = {}
    counted_from = 0
    if since < until and "tag" in asked.by:
        figures, counted_from = await _by_acceptance(deps, asked.by, since, until, interval, tenant)
    elif since < until:
        figures = await _by_hour(deps, asked.by, since, until, interval, tenant)
    found = sorted(figures.items(), key=lambda one: (one[0][0], -one[1]["accepted"], one[0]))
    stats = [_shown(key, counts, asked.by) for key, counts in found[: asked.limit]]
    return json_response(
        Statistics(
            as_of=format_time(as_of), since=format_time(since), until=format_time(until), stats=stats,
            truncated=len(found) > len(stats), counted_from=format_time(counted_from) if counted_from else UNSET,
        )
    )  # fmt: skip


async def _by_hour(
    deps: Dependencies, by: tuple[str, ...], since: int, until: int, interval: int, tenant: str | None
) -> _Figures:
    """Events count in the hour in which they happened."""
    figures: _Figures = {}
    for one in await deps.history.counts(by, interval, since, until, tenant):
        name = _OF_EVENT.get(EventType(one.kind))
        if name is not None:
            key = (one.begins if interval else since), "", one.pool, one.domain, one.site, one.tenant, one.category
            figures.setdefault(key, Counter())[name] += one.many
    return figures


async def _by_acceptance(
    deps: Dependencies, by: tuple[str, ...], since: int, until: int, interval: int, tenant: str | None
) -> tuple[_Figures, int]:
    """Deliveries count in the period in which they were accepted, by how they stand now. The time (Unix ms, a whole
    hour) from which all of them are counted, where a limit ended the count; 0 = all."""
    figures: _Figures = {}
    wanted = RowFilter(accepted_from=since, accepted_until=until, tenant=tenant)
    looked_at, cursor, is_first = 0, "", True
    while is_first or cursor:
        page = await deps.history.rows(wanted, MOST_ROWS, cursor)
        is_first, cursor = False, page.cursor
        domains = {row.last.domain for row in page.rows} if "site" in by else ()
        sites = await deps.history.sites(domains) if domains else {}
        async for rows in deps.turns.slices(page.rows):
            for row in rows:
                begins = since + (row.accepted_at - since) // interval * interval if interval else since
                _count(figures, begins, by, row, sites)
        looked_at += len(page.rows)
        if looked_at >= _MOST_COUNTED and cursor:
            return figures, min(until, (page.rows[-1].accepted_at // HOUR_MS + 1) * HOUR_MS)
        await deps.turns.rest()
    return figures, 0


def _count(figures: _Figures, begins: int, by: tuple[str, ...], row: DeliveryRow, sites: Mapping[str, str]) -> None:
    event, name = row.last, _OF_STANDING.get(row.standing)
    pool = event.pool if "pool" in by else ""
    domain = event.domain if "domain" in by else ""
    site = sites.get(event.domain, "")
    tenant = event.tenant if "tenant" in by else ""
    category = event.category if "category" in by else ""
    for tag in event.tags:
        counts = figures.setdefault((begins, tag, pool, domain, site, tenant, category), Counter())
        counts["accepted"] += 1
        if name is not None:
            counts[name] += 1


def _shown(key: Key, counts: Counter[str], by: Iterable[str]) -> Stats:
    begins, *values = key
    groups = dict(zip(_GROUPS, values, strict=True))
    fields: dict[str, Any] = {name: value for name, value in groups.items() if name in by} | counts
    return Stats(begins=format_time(begins), **fields)


STATS: Final = Operation(
    "GET",
    "/v1/stats",
    show_stats,
    "showStats",
    "Counts by hour, and by pool, domain, site, tenant, category or tag",
    (Answer(200, Statistics, "each period, and in it the largest group first", or_of=(TlsStatistics, LinkStatistics)),),
    Example("/v1/stats?by=domain&interval=1h"),
    scope=Scope.MESSAGES_READ,
    for_tenants=True,
    description="Events count in the hour in which they happened: `deferred` are attempts. By tag, deliveries count in "
    "the hour in which they were accepted, by how they stand now. Such an answer counts the newest "
    f"{_MOST_COUNTED:,} deliveries of the span; `counted_from` says where it ends earlier than the span. "
    "The site of a domain is the newest that was found. "
    "`by=tls` counts connections by day, domain, host and result of TLS, and takes no other group. "
    "`by=link` counts clicks in tracked mail by day, tenant and link, those of machines apart, and takes none either.",
    query=StatsQuery,
)
