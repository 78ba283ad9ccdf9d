"""Refusals of a server as the product's errors."""

import asyncio
import contextlib
from typing import Any

import pytest
from redis.exceptions import ResponseError

from mta.model.errors import StoreAway, StoreError, StoreFull, StoreRefuses
from mta.model.settings import RedisSettings
from mta.redis_store.link import Link

_EXEC = "EXECABORT Transaction discarded because of: "


@pytest.mark.parametrize(
    ("said", "raised"),
    [
        ("OOM command not allowed when used memory > 'maxmemory'.", StoreFull),
        (_EXEC + "OOM command not allowed when used memory > 'maxmemory'.", StoreFull),
        ("NOREPLICAS Not enough good replicas to write.", StoreRefuses),
        (_EXEC + "NOREPLICAS Not enough good replicas to write.", StoreRefuses),
        (_EXEC + "READONLY You can't write against a read only replica.", StoreRefuses),
        ("MISCONF Errors writing to the AOF file: No space left on device", StoreRefuses),
        ("LOADING Redis is loading the dataset in memory", StoreRefuses),
        ("BUSY Redis is busy running a script.", StoreAway),
        ("TRYAGAIN Multiple keys request during rehashing of slot", StoreAway),
        ("ERR Function not found", StoreError),
    ],
)
async def test_what_keeps_a_transaction_from_running_is_said_as_of_a_step(
    monkeypatch: pytest.MonkeyPatch, said: str, raised: type[StoreError]
) -> None:
    link = Link("redis://127.0.0.1:1", RedisSettings())

    async def refuse(*words: object) -> None:
        raise ResponseError(said)

    monkeypatch.setattr(link._topology.client, "execute_command", refuse)
    with pytest.raises(StoreError) as caught:
        await link.command("PING")
    assert type(caught.value) is raised
    await link.close()


async def test_a_subscriber_that_swallows_a_cancellation_while_it_connects_ends_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A worker that was stopped right after its store had come back lived on until it was killed."""
    monkeypatch.setattr("mta.timing.cancelling._AGAIN", 0.01)
    link, connects = Link("redis://127.0.0.1:1", RedisSettings()), asyncio.Event()

    async def subscribe(*_: Any) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            connects.set()
            await asyncio.sleep(60.0)
        await asyncio.sleep(60.0)

    monkeypatch.setattr(link._topology, "subscribe", subscribe)
    subscriber = link.listen()
    await connects.wait()
    async with asyncio.timeout(30.0):
        await link.close()
    assert subscriber.done()
