"""A running application over a history in memory."""

from collections.abc import AsyncIterator

import pytest
from aiohttp.test_utils import TestClient, TestServer

from tests.support.control_api import BEARER, Cluster, app_for
from tests.support.memory_history import MemoryHistory


@pytest.fixture
def history(cluster: Cluster) -> MemoryHistory:
    made = cluster.history = MemoryHistory()
    return made


@pytest.fixture
async def api(cluster: Cluster, history: MemoryHistory) -> AsyncIterator[TestClient]:
    async with TestClient(TestServer(app_for(cluster)), headers=BEARER) as client:
        yield client
