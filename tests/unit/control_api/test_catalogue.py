"""The catalogue: up to date with each answer, and no whole table read where changes say it all."""

import asyncio

import pytest

from control_api.catalogue import Catalogue
from mta.model.errors import StoreAway
from mta.model.rules import Head, Rule, Selectors
from tests.support.memory_rules import MemoryRules, Shared


class Counted(MemoryRules):
    loads = 0

    async def load(self) -> tuple[Head, tuple[Rule, ...]]:
        self.loads += 1
        return await super().load()


@pytest.fixture
def store() -> Counted:
    return Counted(Shared(), "api")


async def put(store: MemoryRules, tag: str, change: str) -> None:
    await store.put(Rule(f"r-{tag}", Selectors(tag=tag), 554), change)


async def test_it_catches_up_by_changes(store: Counted) -> None:
    catalogue = Catalogue(store, "n1", ())
    assert len(await catalogue.table()) == 0
    await put(store, "a", "c1")
    assert {rule.id for rule in (await catalogue.table()).rules()} == {"r-a"}
    loads = store.loads
    await put(store, "b", "c2")
    await store.remove("r-a", "c3")
    await put(store, "b", "c4")
    tables = await asyncio.gather(*(catalogue.table() for _ in range(9)))
    assert [rule.generation for rule in tables[0].rules()] == [4]
    assert all(table is tables[0] for table in tables)
    assert await catalogue.table() is tables[0]
    assert store.loads == loads


async def test_changes_that_do_not_lead_on_load_the_table(store: Counted) -> None:
    catalogue = Catalogue(store, "n1", ())
    await put(store, "a", "c1")
    await catalogue.table()
    other = Shared()
    store.shared = other  # a failover
    await put(store, "b", "x1")
    assert {rule.id for rule in (await catalogue.table()).rules()} == {"r-b"}
    await put(store, "c", "x2")
    del other.changes[1]
    assert {rule.id for rule in (await catalogue.table()).rules()} == {"r-b", "r-c"}


async def test_it_says_when_it_cannot_know(store: Counted) -> None:
    catalogue = Catalogue(store, "n1", ())
    await put(store, "a", "c1")
    await catalogue.table()
    store.away = True
    with pytest.raises(StoreAway):
        await catalogue.table()
