"""Counts of replies on a real store."""

import asyncio
from collections.abc import Callable

from mta.model.reactions import PauseWish
from mta.ports.reactions import Counted
from mta.redis_store import keys
from mta.redis_store.reaction_store import StoredReactions
from tests.support.stores import Store

COUNTED = Counted("r", "big", "ip:192.0.2.1")
WISH = PauseWish(reaction="r", site="big", tag="red", until=5, reason="x")


async def test_replies_of_all_processes_count_until_somebody_has_acted(open_store: Callable[..., Store]) -> None:
    store = await open_store()
    one, two = StoredReactions(store.link), StoredReactions(store.link)
    assert await one.seen(COUNTED, ["a", "b"], 3, 60_000) == []
    assert await two.seen(COUNTED._replace(scope="ip:192.0.2.2"), ["z"], 3, 60_000) == []
    assert await two.seen(COUNTED, ["c"], 3, 60_000) == ["c", "b", "a"]
    assert await one.seen(COUNTED, ["d"], 3, 60_000) == [], "the other one acts"
    await store.link.command("DEL", keys.reaction_key(*COUNTED) + b":acting")  # its time is over: it may have died
    assert await one.seen(COUNTED, ["e"], 3, 60_000) == ["e", "d", "c"]
    await one.acted(COUNTED)
    await store.link.command("DEL", keys.reaction_key(*COUNTED) + b":acting")
    assert await one.seen(COUNTED, ["f", "g"], 3, 60_000) == []


async def test_replies_before_the_window_do_not_count(open_store: Callable[..., Store]) -> None:
    store = await open_store()
    table = StoredReactions(store.link)
    assert await table.seen(COUNTED, ["a"], 2, 50) == []
    await asyncio.sleep(0.1)  # of the server's clock
    assert await table.seen(COUNTED, ["b"], 2, 50) == []


async def test_a_later_wish_for_the_same_pause_stays(open_store: Callable[..., Store]) -> None:
    store = await open_store()
    table = StoredReactions(store.link)
    later = PauseWish(reaction="r", site="big", tag="red", until=9, reason="x")
    await table.wish(WISH)
    await table.wish(later)
    await table.fulfilled(WISH)
    assert await table.wishes() == [later]
    await table.fulfilled(later)
    assert await table.wishes() == []
