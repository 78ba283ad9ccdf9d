import asyncio

from mta.model.rules import NO_HEAD, SessionState
from mta.scheduling.reaper import Reaper
from tests.support.scheduling import until


class Store:
    session = "me"

    def __init__(self, *names):
        self.seqs = dict.fromkeys(names, 1)
        self.dead, self.claims, self.log = set(), {"a": 250}, []

    lanes = 2

    async def sessions(self):
        return {n: SessionState(n, "n", 1, (), NO_HEAD, seq, dead=n in self.dead) for n, seq in self.seqs.items()}

    async def holders(self):
        return {name for name, count in self.claims.items() if count}

    async def mark_dead(self, session, seq):
        self.log.append(("dead", session, seq))
        return self.seqs[session] == seq

    async def reclaim(self, lane, session, most):
        taken = min(most, self.claims.get(session, 0))
        self.claims[session] = self.claims.get(session, 0) - taken
        return taken

    async def forget(self, session):
        self.log.append(("forget", session))
        self.seqs.pop(session, None)


async def test_only_who_stands_still_beyond_the_lease_is_taken_back():
    store, clock = Store("me", "a", "b"), [0.0]
    reaper = Reaper(store, store, store, 60.0, clock=lambda: clock[0])
    for second in (0, 30, 60):
        clock[0] = float(second)
        store.seqs["b"] += 1
        await reaper.look()
    assert not store.log
    clock[0] = 61.0
    store.seqs["b"] += 1
    await reaper.look()
    assert ("dead", "a", 1) in store.log
    assert set(store.seqs) == {"me", "b"}
    assert reaper.reclaimed == 250


async def test_what_belongs_to_nobody_is_taken_back_after_a_lease():
    store, clock = Store("me"), [0.0]
    reaper = Reaper(store, store, store, 60.0, clock=lambda: clock[0])
    for second in (0, 31, 60):
        clock[0] = float(second)
        await reaper.look()
    assert store.claims["a"] == 250, "it may be about to register"
    clock[0] = 92.0
    await reaper.look()
    assert store.claims["a"] == 0


async def test_time_in_which_the_store_was_away_counts_for_nobody():
    store, clock = Store("me", "b"), [0.0]
    reaper = Reaper(store, store, store, 60.0, clock=lambda: clock[0])
    await reaper.look()
    reaper.blind()
    clock[0] = 100.0
    await reaper.look()
    assert not store.log
    clock[0] = 161.0
    await reaper.look()
    assert ("dead", "b", 1) in store.log


async def test_a_session_marked_dead_is_taken_over_at_once():
    store = Store("a")
    store.dead.add("a")
    await Reaper(store, store, store, 60.0, clock=lambda: 0.0).look()
    assert store.claims["a"] == 0
    assert not store.seqs


async def test_who_is_given_up_by_somebody_else_is_taken_back_at_once():
    store = Store("me", "a")
    reaper = Reaper(store, store, store, 60.0)
    running = asyncio.create_task(reaper.run())
    await asyncio.sleep(0)
    store.dead.add("a")
    reaper.look_now()
    await until(lambda: reaper.reclaimed == 250)
    running.cancel()


async def test_r5_only_who_took_something_back_says_that_a_session_is_dead(caplog):
    store = Store("me", "a", "b")
    store.dead = {"a", "b"}
    await Reaper(store, store, store, 60.0).look()
    assert [record.message for record in caplog.records] == [
        "session a is dead: 250 claimed deliveries are back in their queues"
    ]


async def test_it_ends_when_it_is_told_to_in_the_moment_of_a_hint():
    store = Store("me")
    reaper = Reaper(store, store, store, 60.0)
    running = asyncio.create_task(reaper.run())
    await asyncio.sleep(0.05)
    reaper.look_now()
    running.cancel()
    done, _ = await asyncio.wait((running,), timeout=30.0)
    assert done, "a worker waits for it until it is killed"
