"""The supervisor gives up sessions and lanes of a process that ended, even where the store is away."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from mta.model.errors import StoreAway
from mta.model.rules import Head, SessionState
from mta.model.settings import NodeSettings, Settings
from mta.ports.journal import RULES_LANE
from mta.runtime import node_store
from mta.runtime.data_dir import DataDir
from mta.runtime.node_store import NodeStore
from mta.runtime.room import Room
from mta.runtime.wiring.node import NodeAdapters
from tests.support.scheduling import until

DEAD, LIVING = 11, 12


def session(name: str, node: str, pid: int) -> SessionState:
    return SessionState(name, node, pid, ("delivery",), Head(1, ""), 1)


class Store:
    """Sessions and leases; it is away for so many calls."""

    lanes = 2

    def __init__(self) -> None:
        self.away = 0
        self.given_up: list[str] = []
        self.released: list[tuple[int, str]] = []
        self.names: list[bytes] = []
        states = (session("mine", "n1", DEAD), session("alive", "n1", LIVING), session("other", "n2", DEAD))
        self.states = {state.id: state for state in states}

    async def sessions(self) -> dict[str, SessionState]:
        if self.away:
            self.away -= 1
            raise StoreAway("away")
        return self.states

    async def mark_dead(self, session: str, seq: int | None) -> bool:
        self.given_up.append(session)
        return True

    async def release(self, lane: int, journal: str) -> None:
        self.released.append((lane, journal))

    async def write(self, name: str, seen: bytes, entry: object) -> bytes:
        self.names.append(seen)
        return b""


@pytest.fixture
def made(tmp_path: Path) -> tuple[NodeStore, Store]:
    store: Any = Store()
    adapters = NodeAdapters(*[store] * len(NodeAdapters._fields))
    settings = Settings(node=NodeSettings(name="n1", data_dir=str(tmp_path / "n1")))
    folder = DataDir(settings.node.data_dir)
    return NodeStore(adapters, lambda: settings, "redis://x", folder, Room(settings), lambda: {LIVING}), store


async def test_the_sessions_and_lanes_of_a_process_that_ended_are_given_up(made: tuple[NodeStore, Store]) -> None:
    node, store = made
    node.give_up(DEAD)
    await until(lambda: len(store.released) == 3)
    assert store.given_up == ["mine"]
    assert store.released == [(0, "n1.11"), (1, "n1.11"), (RULES_LANE, "n1.11")]


async def test_they_are_given_up_once_the_store_is_back(
    made: tuple[NodeStore, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node_store, "_FIRST_PAUSE", 0.001)
    node, store = made
    store.away = 3
    node.give_up(DEAD)
    await until(lambda: len(store.released) == 3)
    assert store.given_up == ["mine"]


async def test_the_goodbye_waits_for_it_and_a_node_without_its_name_leaves_none(made: tuple[NodeStore, Store]) -> None:
    node, store = made
    node.give_up(DEAD)
    await asyncio.wait_for(node.say_goodbye(), 30.0)
    assert (len(store.released), store.names) == (3, [])
