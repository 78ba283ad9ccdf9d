"""The program's commands against the API over the ports in memory."""

import asyncio
import threading
from collections.abc import Iterator

import pytest
from aiohttp import web

from tests.support.commands import Floodgate, call
from tests.support.control_api import TOKEN, Cluster, app_for


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
def url(cluster: Cluster) -> Iterator[str]:
    loop = asyncio.new_event_loop()
    runner = web.AppRunner(app_for(cluster))

    async def start() -> int:
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        port: int = runner.addresses[0][1]
        return port

    port = loop.run_until_complete(start())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield f"http://127.0.0.1:{port}"
    asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.fixture
def floodgate(url: str, monkeypatch: pytest.MonkeyPatch) -> Floodgate:
    monkeypatch.setenv("FLOODGATE_URL", url)
    monkeypatch.setenv("FLOODGATE_TOKEN", TOKEN)
    return call
