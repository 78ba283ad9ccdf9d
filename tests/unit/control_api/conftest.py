"""A running application over the ports in memory."""

from collections.abc import AsyncIterator

import pytest
from aiohttp.test_utils import TestClient, TestServer

from tests.support.control_api import BEARER, Cluster, app_for


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
async def api(cluster: Cluster) -> AsyncIterator[TestClient]:
    async with TestClient(TestServer(app_for(cluster)), headers=BEARER) as client:
        yield client


@pytest.fixture
async def stranger(cluster: Cluster) -> AsyncIterator[TestClient]:
    async with TestClient(TestServer(app_for(cluster))) as client:
        yield client
