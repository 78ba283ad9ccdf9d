"""The process that serves endpoints: leases, a state that one process alone writes, endpoints that come and go."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from mta.model.errors import HistoryNotBegun, StoreAway
from mta.model.webhooks import Replay
from mta.ports.history import Cursor
from mta.ports.webhooks import PostAnswer
from mta.webhooks.webhooks import Webhooks
from tests.support.dkim_keys import OpenSeal
from tests.support.eventually import eventually
from tests.support.memory_history import MemoryHistory
from tests.support.webhooks import Endpoints, MemoryState, Posts
from tests.unit.webhooks.rig import AT, delivered, endpoint


class Cluster:
    def __init__(self) -> None:
        self.store, self.state, self.history = Endpoints(), MemoryState(), MemoryHistory()
        self.posts: dict[str, Posts] = {}
        self._running: dict[str, tuple[Webhooks, asyncio.Task[None]]] = {}

    async def start(self, node: str, seal: OpenSeal | None = None) -> Webhooks:
        posts = self.posts[node] = Posts()
        webhooks = Webhooks(self.store, self.state, self.history, posts, seal or OpenSeal(), node)
        task = asyncio.get_running_loop().create_task(webhooks.run())
        self._running[node] = webhooks, task
        return webhooks

    async def stop(self, node: str) -> None:
        webhooks, task = self._running.pop(node)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await webhooks.stop()
        self.store.servers.discard(node)

    async def stop_all(self) -> None:
        for node in list(self._running):
            await self.stop(node)

    async def add(self, **more: Any) -> None:
        made = endpoint(**more)
        await self.store.edit(made.id, lambda known: made)

    def sent(self, node: str = "n1") -> int:
        return len(self.posts[node].sent)


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    cluster = Cluster()
    yield cluster
    await cluster.stop_all()


async def test_an_endpoint_is_told_and_its_figures_are_shown(cluster: Cluster) -> None:
    await cluster.start("n1")
    await cluster.add()
    cluster.history.add(delivered(1))
    await eventually(lambda: cluster.sent() == 1)
    figures = await eventually(lambda: cluster.store.told.get("wh_1"))
    assert figures.node == "n1"
    await eventually(lambda: cluster.store.told["wh_1"].sent == 1 and cluster.store.told["wh_1"].backlog == 0)


async def test_a_process_that_is_stopped_hands_over_where_it_stands(cluster: Cluster) -> None:
    await cluster.start("n1")
    await cluster.add()
    cluster.history.add(delivered(1))
    await eventually(lambda: cluster.sent() == 1)
    await cluster.stop("n1")
    cluster.history.add(delivered(2))
    await cluster.start("n2")
    await eventually(lambda: cluster.sent("n2") == 1)
    assert b"u2@a.test" in cluster.posts["n2"].sent[0][1]
    assert cluster.state.owners["wh_1"] == 2


async def test_a_process_that_lost_its_endpoint_writes_nothing_any_more(cluster: Cluster) -> None:
    first = await cluster.start("n1")
    await cluster.add()
    await eventually(lambda: first._senders)
    cluster.store.leases["wh_1"] = "n2"  # the lease of n1 is over
    second = await cluster.start("n2")
    await eventually(lambda: second._senders)
    cluster.history.add(delivered(1))
    await eventually(lambda: not first._senders)
    await eventually(lambda: cluster.state.streams.get("wh_1", {}).get(False) is not None)
    assert cluster.state.owners["wh_1"] == 2


async def test_processes_share_the_endpoints(cluster: Cluster) -> None:
    for number in range(4):
        await cluster.add(id=f"wh_{number}")
    first = await cluster.start("n1")
    await eventually(lambda: len(first._senders) == 4)
    second = await cluster.start("n2")
    await eventually(lambda: (len(first._senders), len(second._senders)) == (2, 2))
    assert not set(first._senders) & set(second._senders)


async def test_a_node_without_the_key_of_the_cluster_leaves_endpoints_to_others(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    keyless = OpenSeal()
    for number in range(4):
        keyless.broken.add(f"webhook:wh_{number}")
        await cluster.add(id=f"wh_{number}")
    without = await cluster.start("n1", keyless)
    await eventually(lambda: "is not served here" in caplog.text)
    other = await cluster.start("n2")
    await eventually(lambda: len(other._senders) == 4)
    assert not without._senders
    assert cluster.store.servers == {"n2"}


async def test_an_endpoint_that_is_removed_leaves_nothing_behind(cluster: Cluster) -> None:
    process = await cluster.start("n1")
    await cluster.add()
    await eventually(lambda: cluster.state.streams)
    await cluster.store.remove("wh_1")
    await eventually(lambda: not process._senders and not cluster.state.owners)
    await cluster.stop("n1")
    await cluster.add(id="wh_2")
    await cluster.start("n1")
    await eventually(lambda: cluster.state.streams)
    await cluster.stop("n1")
    await cluster.store.remove("wh_2")  # while no process serves it
    await cluster.start("n1")
    await eventually(lambda: not cluster.state.owners)


async def test_an_endpoint_that_is_given_up_is_disabled_in_the_store(cluster: Cluster) -> None:
    await cluster.start("n1")
    cluster.posts["n1"].answer = lambda url: PostAnswer(410, "HTTP 410")
    await cluster.add()
    cluster.history.add(delivered(1))
    await eventually(lambda: cluster.store.known["wh_1"].disabled_at)
    assert cluster.store.known["wh_1"].disabled_reason == "it answered 410 Gone"


async def test_a_replay_that_was_ordered_before_the_endpoint_was_served_is_made(cluster: Cluster) -> None:
    for number in range(3):
        cluster.history.add(delivered(number))

    async def at(time: int) -> Cursor:
        return Cursor(1, 0 if time == AT else 3)

    cluster.history.at = at  # type: ignore[method-assign]
    await cluster.add(replay=Replay(1, AT, AT + 2))
    await cluster.start("n1")
    await eventually(lambda: cluster.sent() == 2)  # it was made after all of these
    figures = await eventually(lambda: cluster.store.told.get("wh_1"))
    await eventually(lambda: not cluster.store.told["wh_1"].replay)
    assert figures.replayed == 1


@pytest.mark.parametrize("part", ["store", "history"])
async def test_a_part_that_is_away_is_waited_for(cluster: Cluster, part: str) -> None:
    def away() -> None:
        raise StoreAway("down") if part == "store" else HistoryNotBegun("not yet")

    reached: Callable[[], None] = lambda: None  # noqa: E731
    target = cluster.store if part == "store" else cluster.history
    await cluster.add()
    target.reach = away
    await cluster.start("n1")
    for _ in range(20):
        await asyncio.sleep(0)
    target.reach = reached
    cluster.history.add(delivered(1))
    await eventually(lambda: cluster.sent() == 1)


async def test_a_new_endpoint_begins_at_the_rounds_written_after_it_was_made(cluster: Cluster) -> None:
    cluster.history.add(delivered(1))

    async def at(time: int) -> Cursor:
        assert time == AT
        return Cursor(1, 1)

    cluster.history.at = at  # type: ignore[method-assign]
    await cluster.add(created_at=AT)
    await cluster.start("n1")
    cluster.history.add(delivered(2))
    await eventually(lambda: cluster.sent() == 1)
    assert b"u2@a.test" in cluster.posts["n1"].sent[0][1]
