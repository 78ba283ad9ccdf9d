"""One seed of the race of cancellations: clients cancel single messages at random times while two workers deliver.
The mail comes over SMTP and over HTTP."""

import asyncio
import random
from collections import Counter, defaultdict
from pathlib import Path
from typing import NamedTuple

import aiohttp

from tests.races.aftermath import Aftermath, aftermath
from tests.races.cluster import Cluster, eventually
from tests.races.ledger import read_ledger
from tests.races.plan import Campaign, Fault, Mail, Plan, plan_of
from tests.races.source import Told
from tests.races.two_doors import TwoDoors, headers

_CLIENTS = 4
_CONNECTIONS = 4  # of a client
_CANCELED = 0.25  # of all messages
_REPEATED = 0.3  # of those: by another client at the same time, or some time later
_ASKED_AGAIN = 300  # once all is at rest
_PATIENCE = 40.0  # seconds until the last answer must have become 200 or 409
_DUE = "X-MQ-Delayed: +3s"
_SOON, _LATER = 0.1, 3.0  # seconds after its acceptance, at most


class Answer(NamedTuple):
    """The answer to a cancellation."""

    code: int
    statuses: dict[str, str]  # by delivery id


class Evidence(NamedTuple):
    """All that is known of a seed at its end."""

    told: list[Told]
    answers: dict[str, list[Answer]]  # by message id, in the order in which they came
    after: Aftermath

    def receipts(self) -> Counter[str]:
        """By delivery id."""
        numbers = {to: n for told in self.told for n, to in enumerate(told.mail.recipients, 1)}
        return Counter(f"{t.message}.{numbers[to]}" for t in self.after.seen if t.dot_at for to in t.recipients)

    def codes(self) -> Counter[int]:
        return Counter(answer.code for answers in self.answers.values() for answer in answers)


async def run_seed(seed: int, messages: int, folder: Path) -> Evidence:
    """The whole story; the verdict on it is tests.races.cancel_verdict's."""
    plan = plan_of(seed, messages)
    plan = plan._replace(fault=Fault.NONE, mails=tuple(_due_sooner(mail) for mail in plan.mails))
    async with Cluster(plan, folder, nodes=1) as cluster, asyncio.TaskGroup() as group:
        return await _Race(cluster, plan, group).run()


def _due_sooner(mail: Mail) -> Mail:
    """Scheduled mail is due while it is canceled: cancellations come up to 6 s after its acceptance."""
    headers = (_DUE if header.startswith(_DUE.partition("+")[0]) else header for header in mail.headers)
    return mail if mail.campaign is Campaign.STOP else mail._replace(headers=tuple(headers))


class _Race:
    def __init__(self, cluster: Cluster, plan: Plan, group: asyncio.TaskGroup) -> None:
        self._cluster = cluster
        self._plan = plan
        self._group = group
        self._rng = random.Random(plan.seed)
        self._http = aiohttp.ClientSession(cluster.nodes[0].ready["api"], headers=headers())
        servers = [node.smtp for node in cluster.nodes]
        self._source = TwoDoors(servers, plan.mails, self._http, sessions=8, heard=self._heard)
        self._clients: list[aiohttp.ClientSession] = []
        self._asking: list[asyncio.Task[None]] = []
        self._answers: defaultdict[str, list[Answer]] = defaultdict(list)

    async def run(self) -> Evidence:
        cluster = self._cluster
        pause = await cluster.call("POST", "/v1/pauses?wait=30s", self._plan.pause)
        for _ in range(_CLIENTS):
            connector = aiohttp.TCPConnector(limit=_CONNECTIONS)
            self._clients.append(
                aiohttp.ClientSession(cluster.nodes[0].ready["api"], connector=connector, headers=headers())
            )
        try:
            await self._source.run()
            await asyncio.gather(*self._asking)
            await cluster.call("DELETE", f"/v1/pauses/{pause['id']}?wait=30s")
            await eventually(self._is_over, 60.0)
            again = self._rng.sample(sorted(self._answers), min(_ASKED_AGAIN, len(self._answers)))
            await asyncio.gather(*(self._ask(message) for message in [*again, *await self._waiting()]))
        finally:
            await asyncio.gather(*(client.close() for client in (*self._clients, self._http)))
        assert self._source.over_http > len(self._plan.mails) // 4
        return Evidence(self._source.told, dict(self._answers), await aftermath(cluster))

    def _heard(self, told: Told) -> None:
        """Decide by chance whether, when and how often it is canceled; from the middle on, deliveries hurry."""
        rng = self._rng
        if len(self._source.told) == len(self._plan.mails) // 2:
            self._asking.append(self._group.create_task(asyncio.to_thread(self._cluster.destination.hurry)))
        if rng.random() >= _CANCELED:
            return
        after = rng.uniform(0.0, rng.choice((_SOON, _LATER)))
        times = [after]
        if rng.random() < _REPEATED:
            times.append(after if rng.random() < 0.5 else after + rng.uniform(0.0, _LATER))
        for seconds in times:
            self._asking.append(self._group.create_task(self._ask_in(seconds, told.message)))

    async def _ask_in(self, seconds: float, message: str) -> None:
        await asyncio.sleep(seconds)
        await self._ask(message)

    async def _ask(self, message: str) -> None:
        """Until it is 200 or 409; with some patience of the server, or with none."""
        client, wait = self._rng.choice(self._clients), self._rng.choice(("0s", "100ms", "2s"))

        async def is_told() -> bool:
            async with client.post(f"/v1/messages/{message}/cancel?wait={wait}") as answer:
                record = await answer.json()
            statuses = {one["id"]: one["status"] for one in record.get("recipients", ())}
            self._answers[message].append(Answer(answer.status, statuses))
            return answer.status != 202

        await eventually(is_told, _PATIENCE)

    async def _is_over(self) -> bool:
        """Nothing waits but what is due in an hour."""
        living = (await read_ledger(self._cluster.valkey.url)).living.values()
        return all(one.state in ("scheduled", "deferred") and Campaign.STOP in one.tags for one in living)

    async def _waiting(self) -> list[str]:
        """Messages of which something lives and that nobody has canceled."""
        living = (await read_ledger(self._cluster.valkey.url)).living
        return sorted({id_.partition(".")[0] for id_ in living} - self._answers.keys())
