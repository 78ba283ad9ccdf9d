"""The order in which a node stops: nothing but the journal waits for the sweeper, which a busy machine gives little."""

import asyncio
from types import SimpleNamespace
from typing import Any

from mta.runtime.supervisor import Supervisor
from tests.support.scheduling import until


class Child:
    """Ends when it is let go."""

    def __init__(self, name: str, said: list[str]) -> None:
        self.name, self.said = name, said
        self.let_go = asyncio.Event()

    def drain(self) -> None:
        if f"{self.name} told" not in self.said:
            self.said.append(f"{self.name} told")

    async def gone(self, seconds: float) -> None:
        await self.let_go.wait()
        self.said.append(f"{self.name} gone")


async def test_the_api_ends_while_the_sweeper_takes_its_time_and_the_journal_is_the_last() -> None:
    said: list[str] = []
    children = {name: Child(name, said) for name in ("worker", "sweeper", "journal", "api", "inject")}
    supervisor: Any = Supervisor.__new__(Supervisor)
    supervisor._settings = SimpleNamespace(node=SimpleNamespace(drain_timeout=1.0))
    supervisor._smtp, supervisor._api, supervisor._inject, supervisor._tracking = [], [], [], []
    supervisor._processes = list(children.items())
    draining = asyncio.create_task(supervisor._drain())
    await until(lambda: said == ["sweeper told", "worker told"])
    children["worker"].let_go.set()
    children["api"].let_go.set()
    children["inject"].let_go.set()
    await until(lambda: said[2:] == ["worker gone", "api told", "api gone", "inject told", "inject gone"])
    children["sweeper"].let_go.set()
    children["journal"].let_go.set()
    await draining
    assert said[7:] == ["sweeper gone", "journal told", "journal gone"]
