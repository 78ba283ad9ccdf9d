"""The end of a worker process: its goodbye is the last thing that the cluster hears of it."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from mta.model.errors import StoreAway
from mta.runtime.wiring.worker import WorkerStore
from mta.runtime.worker import Worker


class Parts:
    """Everything that a stopping worker talks to; each call is written down."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.away = False

    async def drain(self, seconds: float) -> None:
        await asyncio.sleep(0)
        self.said.append("last dot settled")

    async def farewell(self) -> None:
        if self.away:
            raise StoreAway("away")
        self.said.append("claims given back")

    async def forget(self, session: str) -> None:
        self.said.append("slots given back")

    async def stop(self, goodbye: bool) -> None:
        self.said.append("goodbye" if goodbye else "no goodbye")


@pytest.fixture
def worker():
    parts: Any = Parts()
    made: Any = Worker.__new__(Worker)
    made._child = SimpleNamespace(settings=SimpleNamespace(node=SimpleNamespace(drain_timeout=1.0)))
    made._store = WorkerStore.__new__(WorkerStore)
    made._store.queues, made._store.limits, made._store.session = parts, parts, SimpleNamespace(id="s")
    made._inbound, made._outbound, made._guard = None, parts, parts
    return made, parts


async def test_the_goodbye_comes_after_the_last_dot_and_the_last_claim(worker):
    made, parts = worker
    await made._drain()
    assert parts.said == ["last dot settled", "claims given back", "slots given back", "goodbye"]


async def test_no_goodbye_while_claims_are_held(worker):
    made, parts = worker
    parts.away = True
    await made._drain()
    assert parts.said == ["last dot settled", "no goodbye"]
