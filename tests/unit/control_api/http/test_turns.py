"""Lists of very many rules leave the loop to others, to orders first of all."""

import asyncio
import contextlib

import pytest
from aiohttp.test_utils import TestClient

from control_api.http.turns import SLICE, Turns
from mta.model.rules import Rule, Selectors
from tests.support.control_api import AT, Cluster

MANY = 22_056


@pytest.fixture
def crowd(cluster: Cluster) -> Cluster:
    for number in range(MANY):
        rule = Rule(f"{number:022x}", Selectors(tag=f"t{number}"), 554, created_at=AT + number, generation=number + 1)
        cluster.rules[rule.id] = rule
    cluster.generation = MANY
    return cluster


async def test_k12_an_order_is_answered_while_a_list_of_22056_rules_is_made(api: TestClient, crowd: Cluster) -> None:
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    counting = asyncio.create_task(count_turns())
    listing = asyncio.create_task(api.get("/v1/errors"))
    made = await api.post("/v1/errors", json={"code": 554, "tag": "now"})
    assert made.status == 201
    assert not listing.done(), "the order came first"
    answer = await listing
    rules = await answer.json()
    counting.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await counting
    assert len(rules) in (MANY, MANY + 1)
    assert [rule["id"] for rule in rules[:MANY]] == sorted(crowd.rules)[:MANY]
    assert turns > 3 * MANY // SLICE, "the table, the choice and the answer are each made in slices"


async def test_k12_a_page_of_very_many_rules_is_the_same_as_before(api: TestClient, crowd: Cluster) -> None:
    answer = await api.get("/v1/errors", params={"limit": 3})
    assert [rule["id"] for rule in await answer.json()] == sorted(crowd.rules)[:3]
    assert 'rel="next"' in answer.headers["Link"]
    assert (await answer.text()).endswith("]\n")


async def test_slices_are_all_items_in_order_and_step_back_while_an_order_is_under_way() -> None:
    turns = Turns()
    items = list(range(2 * SLICE + 1))
    with turns.order():
        assert [item async for some in turns.slices(items) for item in some] == items
    assert [some async for some in turns.slices([])] == []
