import asyncio

from mta.runtime.served_pools import ServedPools
from tests.support.scheduling import until


async def test_a_pool_of_one_ip_is_served_once_its_mail_was_heard_of(monkeypatch):
    monkeypatch.setattr("mta.runtime.served_pools._LOOK_EVERY", 0.0)
    known: list[str] = []
    asked = 0

    async def pools() -> list[str]:
        nonlocal asked
        asked += 1
        return known

    served = ServedPools(pools, ("p",))
    following = asyncio.create_task(served.follow())
    await until(lambda: asked)
    known += ["@127.0.0.1", "@192.0.2.1"]
    await asyncio.sleep(0.05)
    assert (served(), asked) == ({"p"}, 1), "nobody asks for what has not changed"
    served.look_soon()
    await until(lambda: served() == {"p", "@127.0.0.1"})
    following.cancel()


async def test_it_ends_when_it_is_told_to_in_the_moment_of_a_hint(monkeypatch):
    monkeypatch.setattr("mta.runtime.served_pools._LOOK_EVERY", 0.0)

    async def pools() -> list[str]:
        return []

    served = ServedPools(pools)
    following = asyncio.create_task(served.follow())
    await asyncio.sleep(0.05)
    served.look_soon()
    following.cancel()
    done, _ = await asyncio.wait((following,), timeout=30.0)
    assert done, "a worker waits for it until it is killed"
