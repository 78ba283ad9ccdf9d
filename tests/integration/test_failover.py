"""A replica is promoted that did not get the last changes of the rule table: they are not lost, and it is said."""

import contextlib
import dataclasses
from collections.abc import AsyncIterator, Iterator
from typing import Any

import msgspec
import pytest
from aiohttp.test_utils import TestClient, TestServer

from control_api.app import create_app
from control_api.catalogue import Catalogue
from mta.model.rules import Kind, Rule, Selectors
from mta.model.settings import RedisSettings
from mta.orders.order_book import OrderBook
from mta.redis_store.cluster_settings import ClusterSettings
from mta.redis_store.link import Link
from mta.rules.guard import Guard
from tests.support.actors import ME
from tests.support.control_api import BEARER, Cluster, dependencies
from tests.support.eventually import eventually
from tests.support.moving_address import MovingAddress
from tests.support.stores import Store
from tests.support.valkey import Valkey

PAUSE = Rule("pause", Selectors(tag="pause"), kind=Kind.PAUSE, created_at=3, created_by="me", enabled=False)


def rule(tag: str, code: int = 554, **more: Any) -> Rule:
    return Rule(f"r-{tag}", Selectors(tag=tag), code, created_by="me", created_at=5, **more)


class Place:
    """A primary and its replica, an API and two nodes that reach whichever the address leads to."""

    def __init__(self, primary: Valkey, replica: Valkey, address: MovingAddress, stack: contextlib.AsyncExitStack):
        self.primary = primary
        self.replica = replica
        self.address = address
        self._stack = stack
        self.guards: list[Guard] = []
        self.confirmed: list[int] = []  # the generation that a process had confirmed when it was to put rules again
        self.unions: list[set[str]] = []  # ids in force in the process that was about to do so

    async def store(self, node: str, port: int) -> Store:
        link = Link(f"redis://127.0.0.1:{port}", RedisSettings(timeout=2.0))
        self._stack.push_async_callback(link.close)
        await link.open()
        cluster = ClusterSettings(link)
        await cluster.open(1.0, 4)
        return Store(link, node, cluster)

    async def start(self) -> None:
        self.api = await self.store("api", self.address.port)
        self.book = OrderBook(self.api.rules, self.api.sweeps)
        self._stack.push_async_callback(self.book.stop)
        for node in ("n1", "n2"):
            store = await self.store(node, self.address.port)
            guard = Guard(store.rules, node)
            self._watch(store, guard)
            guard.start()
            store.link.listen()
            self._stack.push_async_callback(guard.stop)
            await guard.ready()
            self.guards.append(guard)

    def _watch(self, store: Store, guard: Guard) -> None:
        regain = store.rules.regain

        async def watched(*args: Any, **more: Any) -> bool:
            self.confirmed.append((await store.rules.sessions())[store.session.id].head.generation)
            self.unions.append({rule.id for rule in guard.table.rules()})
            return await regain(*args, **more)

        store.rules.regain = watched  # type: ignore[method-assign]

    async def agreed(self) -> bool:
        head = await self.api.rules.head()
        states = (await self.api.rules.sessions()).values()
        return len(states) == 2 and all(state.head == head for state in states)

    @contextlib.asynccontextmanager
    async def rest(self) -> AsyncIterator[TestClient[Any, Any]]:
        catalogue = Catalogue(self.api.rules, "api", ())
        stores = {"catalogue": catalogue, "rules": self.api.rules, "sweeps": self.api.sweeps, "books": self.api.books}
        deps = dataclasses.replace(dependencies(Cluster()), orders=self.book, **stores)  # type: ignore[arg-type]
        async with TestClient(TestServer(create_app(deps)), headers=BEARER) as client:
            yield client


@pytest.fixture
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Valkey, Valkey]]:
    primary, replica = (Valkey(tmp_path_factory.mktemp(name)) for name in ("primary", "replica"))
    try:
        yield primary.start(), replica.start()
    finally:
        primary.stop()
        replica.stop()


@pytest.fixture
async def place(servers: tuple[Valkey, Valkey]) -> AsyncIterator[Place]:
    async with contextlib.AsyncExitStack() as stack:
        address = await stack.enter_async_context(MovingAddress(servers[0].port))
        made = Place(*servers, address, stack)
        await made.start()
        yield made


async def test_nothing_that_a_promoted_replica_did_not_get_is_lost(place: Place, caplog: pytest.LogCaptureFixture):
    for kept in (rule("kept"), rule("edited"), rule("removed")):
        assert (await place.book.put(kept, ME, 30.0, "effective")).effective
    place.replica.follow(place.primary)
    place.replica.promote()
    assert (await place.book.put(rule("lost", undo=False), ME, 30.0, "effective")).effective
    assert (await place.book.put(PAUSE, ME, 30.0, "effective")).effective
    assert (
        await place.book.edit("r-edited", lambda r: msgspec.structs.replace(r, code=421), ME, 30.0, "effective")
    ).effective
    assert (await place.book.remove("r-removed", ME, 30.0)).effective
    lost = (await place.api.rules.head()).generation

    direct = await place.store("elsewhere", place.replica.port)
    await direct.rules.put(rule("since"), "since")  # with a number that was used before
    assert (await direct.rules.head()).generation == 4 < lost
    place.address.move(place.replica.port)
    place.primary.stop()
    await eventually(place.agreed)

    everything = {"r-kept", "r-edited", "r-removed", "r-lost", "pause", "r-since"}
    assert place.confirmed
    assert max(place.confirmed) <= 3, "nothing is confirmed before the lost rules are put again"
    assert all(union >= everything for union in place.unions), "the rules of both tables are in force meanwhile"
    _, rules = await place.api.rules.load()
    stored = {rule.id: rule for rule in rules}
    assert stored.keys() == everything
    assert all({r.id for r in guard.table.rules()} == everything for guard in place.guards)
    said = await place.api.rule_events()
    again = sorted(event.forced.rule for event in said if event.actor == "failover")
    assert again == ["", "pause", "r-edited", "r-lost", "r-removed"], "each once, by whichever process"
    assert min(event.forced.generation for event in said if event.actor == "failover") > lost
    assert msgspec.structs.replace(stored["pause"], generation=0) == PAUSE
    assert msgspec.structs.replace(stored["r-lost"], generation=0) == rule("lost", undo=False)
    assert (stored["r-edited"].code, stored["r-since"].generation) == (421, 4)
    for words in ("the rule table went back", "rules whose removal was lost with it are in force again: r-removed"):
        assert words in caplog.text

    async with place.rest() as api:
        listed = await (await api.get("/v1/errors")).json()
        assert {r["id"] for r in listed} == everything - {"pause"}
        for name in ("r-lost", "r-removed", "r-since"):

            async def effective(name: str = name) -> bool:
                return (await (await api.get(f"/v1/errors/{name}")).json())["effective"]

            await eventually(effective)
        assert (await (await api.get("/v1/workers")).json())["generation"] == (await place.api.rules.head()).generation
    await place.book.put(rule("afterwards"), ME, 30.0, "effective")
    assert all(guard.table.rule("r-afterwards") for guard in place.guards)


async def test_an_order_that_no_process_had_heard_of_is_given_again_by_the_api(place: Place):
    await place.book.put(rule("kept"), ME, 30.0, "effective")
    place.replica.follow(place.primary)
    place.replica.promote()
    for guard in place.guards:
        await guard.stop(goodbye=False)  # as processes that were cut off
    effect = await place.book.put(rule("lost"), ME, 0.0, "effective")
    assert not effect.effective
    place.address.move(place.replica.port)
    place.primary.stop()
    store = await place.store("n3", place.address.port)
    late = Guard(store.rules, "n3")
    late.start()
    store.link.listen()
    try:
        await late.ready()

        async def known() -> Rule | None:
            return late.table.rule("r-lost")

        await eventually(known)
        there = late.table.rule("r-lost")
        assert there is not None
        assert there.generation > effect.rule.generation

        async def effective() -> bool:
            return (await place.book.effect(there)).effective

        await eventually(effective)
    finally:
        await late.stop()
