import contextlib
import pathlib
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from mta.model.settings import RedisSettings
from mta.redis_store.checker import Checker
from mta.redis_store.cluster_settings import ClusterSettings
from mta.redis_store.link import Link
from tests.support.stores import Store
from tests.support.valkey import Valkey


@pytest.fixture(scope="session")
def servers() -> Iterator[dict[str, Valkey]]:
    """Those that run, by kind. A server in cluster mode takes no write for two seconds after its start."""
    running: dict[str, Valkey] = {}
    yield running
    for valkey in running.values():
        valkey.stop()


@pytest.fixture(scope="module", params=["plain", "cluster"])
def server(
    request: pytest.FixtureRequest, servers: dict[str, Valkey], tmp_path_factory: pytest.TempPathFactory
) -> Valkey:
    """Empty, and as it was started."""
    kind = request.param
    if kind not in servers:
        servers[kind] = Valkey(tmp_path_factory.mktemp("valkey"), cluster=kind == "cluster").start()
    for words in (("FLUSHALL",), ("FUNCTION", "FLUSH"), ("CONFIG", "RESETSTAT")):
        assert servers[kind].ask(*words) == b"+OK\r\n"
    return servers[kind]


@pytest.fixture
async def open_store(server: Valkey) -> AsyncIterator[Callable[..., Store]]:
    """Sessions on one clean store, each with a connection of its own; the books must balance in the end."""
    server.ask("FLUSHALL")
    async with contextlib.AsyncExitStack() as stack:

        async def one(node: str = "n1", **options: float) -> Store:
            link = Link(server.url, RedisSettings(timeout=10.0))
            stack.push_async_callback(link.close)
            await link.open()
            cluster = ClusterSettings(link)
            await cluster.open(5.0, 4)
            return Store(link, node, cluster, **options)

        yield one
        checking = await one("checker")
        report = await Checker(checking.link, checking.lanes).report()
        assert not report.broken
        assert report.balanced


@pytest.fixture
def scratch(tmp_path: pathlib.Path) -> pathlib.Path:
    return tmp_path
