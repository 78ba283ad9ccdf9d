"""The step of warm-ups on a real store."""

from collections.abc import Callable

from mta.model.limit_use import WarmUp
from mta.redis_store.limit_reader import StoredLimitReader
from mta.redis_store.limit_store import StoredLimits
from tests.support.stores import Store


async def test_a_day_is_handed_out_once_and_counts_if_a_message_began(open_store: Callable[..., Store]) -> None:
    store = await open_store()
    limits, reader = StoredLimits(store.link, store.session), StoredLimitReader(store.link)

    async def take(date: int, told: tuple[int, int, int], wanted: int) -> tuple[int, ...]:
        return tuple(await limits.take_warm_up("big", "192.0.2.1", date, told, wanted, (5, 9)))

    assert await take(100, (0, 0, 0), 3) == (1, 5, 3)
    assert await take(100, (0, 0, 0), 3) == (1, 5, 2)
    assert await take(100, (0, 0, 0), 3) == (1, 5, 0)
    assert await take(100, (100, 0, 1), 0) == (1, 5, 0), "one is given back"
    assert await take(100, (0, 0, 0), 3) == (1, 5, 1)
    assert await take(101, (0, 0, 0), 1) == (1, 5, 1), "nobody has told of a message: the day is repeated"
    assert await take(102, (101, 1, 0), 9) == (2, 9, 9), "the report of yesterday makes it count"
    assert await take(101, (0, 0, 0), 9) == (2, 9, 0), "a process whose clock is behind gets nothing"
    assert await reader.warm_ups("big", ["192.0.2.1", "192.0.2.9"]) == {"192.0.2.1": WarmUp(2, 102, 9, 0)}
    assert await take(103, (102, 9, 0), 9) == (3, 0, 0)
    assert await take(140, (103, 0, 0), 9) == (3, 0, 0), "it stays warm"
