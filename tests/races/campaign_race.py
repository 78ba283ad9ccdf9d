"""One seed of the race of two campaigns: both are injected and delivered, an order stops one, nothing may go wrong."""

import asyncio
import time
from collections import Counter
from pathlib import Path
from typing import Any

from tests.races.aftermath import aftermath
from tests.races.cluster import Cluster, eventually
from tests.races.ledger import Ledger, read_ledger
from tests.races.plan import STATES, Campaign, Plan, plan_of
from tests.races.source import Source
from tests.races.verdict import Evidence, covered
from tests.support.orders import seconds

_FIRST = 0.6  # the share of the mail that comes first; no order comes before so much is accepted
_LASTING = ("scheduled", "deferred", "held")  # states that mail of the campaign to be stopped keeps until the order


async def run_seed(seed: int, messages: int, folder: Path) -> Evidence:
    """The whole story; the verdict on it is `failures`."""
    plan = plan_of(seed, messages)
    async with Cluster(plan, folder) as cluster:
        return await _Race(cluster, plan).run()


class _Race:
    def __init__(self, cluster: Cluster, plan: Plan) -> None:
        self._cluster = cluster
        self._plan = plan
        self._first = round(_FIRST * len(plan.mails))
        self._source = Source([node.smtp for node in cluster.nodes], plan.mails[: self._first])
        self._may_go_on = asyncio.Event()
        self._before = Ledger({}, {})
        self._ordered_at = 0.0

    async def run(self) -> Evidence:
        cluster, plan = self._cluster, self._plan
        worker = (await cluster.workers())[plan.hit]
        pause = await cluster.call("POST", "/v1/pauses?wait=30s", plan.pause)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._inject())
            await self._moment()
            group.create_task(self._strike(worker))
            rule = await self._order()
            await asyncio.to_thread(cluster.destination.hurry)
        await eventually(lambda: self._is_stopped(rule["id"]), 60.0)
        await cluster.call("DELETE", f"/v1/pauses/{pause['id']}?wait=30s")
        await eventually(self._is_over, 60.0)
        return await self._evidence(rule)

    async def _inject(self) -> None:
        await self._source.run()
        await self._may_go_on.wait()
        self._source.add(self._plan.mails[self._first :])
        await self._source.run()

    async def _moment(self) -> None:
        """Until the order may come: so much is accepted, some time has passed, and the campaign is everywhere.

        The first mail takes the states that last; then the destination takes none, so that more is due and claimed."""
        enough = self._plan.ordered_at * len(self._plan.mails)
        destination = self._cluster.destination

        async def is_lasting() -> bool:
            return await self._is_in(_LASTING)

        async def is_everywhere() -> bool:
            return len(self._source.told) >= enough and await self._is_in(STATES)

        assert await eventually(is_lasting, 90.0), self._where()
        await asyncio.to_thread(destination.linger)
        self._may_go_on.set()
        assert await eventually(is_everywhere, 90.0), self._where()
        await asyncio.to_thread(destination.calm)
        await asyncio.sleep(self._plan.lingers)

    async def _is_in(self, states: tuple[str, ...]) -> bool:
        self._before = await read_ledger(self._cluster.valkey.url)
        return covered(self._before, states)

    def _where(self) -> str:
        return f"{len(self._source.told)} messages were accepted, and the campaign was in {self._places()}"

    def _places(self) -> Counter[tuple[str, str, int]]:
        """Deliveries of the campaign to be stopped by state, pool and lane."""
        living = self._before.living.values()
        return Counter((one.state, one.pool, one.lane) for one in living if Campaign.STOP in one.tags)

    async def _strike(self, worker: int) -> None:
        await asyncio.sleep(max(0.0, self._plan.hit_at))
        await self._cluster.strike(worker)

    async def _order(self) -> dict[str, Any]:
        """The rule as it is told right after the answer."""
        cluster, node = self._cluster, self._plan.by
        await asyncio.sleep(max(0.0, -self._plan.hit_at))
        self._ordered_at = time.time() * 1000
        body = {"code": 554, "extended": "5.7.1", "description": "stopped", "tag": Campaign.STOP.value}
        answer = await cluster.call("POST", "/v1/errors?wait=50s", body, node)
        assert answer["effective"], answer
        found: dict[str, Any] = await cluster.call("GET", f"/v1/errors/{answer['id']}", node=node)
        return found

    async def _is_stopped(self, rule: str) -> bool:
        account = await self._cluster.call("GET", f"/v1/errors/{rule}/statement")
        return account["complete"] and not await self._living(Campaign.STOP)

    async def _is_over(self) -> bool:
        return not await self._living(*Campaign)

    async def _living(self, *tags: str) -> bool:
        """Whether mail has still to end; mail that came too late for the sweep and is not due yet has not."""
        living = (await read_ledger(self._cluster.valkey.url)).living.values()
        return any(one.state != "scheduled" or Campaign.KEEP in one.tags for one in living if {*tags} & {*one.tags})

    async def _evidence(self, rule: dict[str, Any]) -> Evidence:
        path = f"/v1/errors/{rule['id']}"
        return Evidence(
            plan=self._plan,
            told=self._source.told,
            before=self._before,
            ordered_at=self._ordered_at,
            rule=rule,
            effective_at=round(seconds(rule["effective_at"]) * 1000),
            rule_later=await self._cluster.call("GET", path),
            account=await self._cluster.call("GET", path + "/statement"),
            after=await aftermath(self._cluster),
        )
