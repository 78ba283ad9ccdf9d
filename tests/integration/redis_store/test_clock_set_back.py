"""The server's clock, which steps read, was far ahead for a while and is right again (K14): nothing stands for days."""

import time

import pytest

from mta.model.rules import Rule, Selectors
from mta.model.sweeps import SweepPhase, SweepState
from mta.redis_store import keys
from mta.redis_store.keys import rate_key
from mta.timing.clock import process_clock
from tests.support.stores import DOMAIN, POOL, message

DAYS = 5 * 86_400_000  # ms


def now_ms() -> int:
    return int(time.time() * 1000)


async def test_k14_rate_tokens_are_given_at_once_after_the_clock_was_set_back(open_store):
    store = await open_store()
    key = rate_key(DOMAIN, POOL, "messages")
    await store.link.command("SET", key, f"{now_ms() + DAYS}.000", "PX", DAYS)
    assert (await store.limits.take_tokens(DOMAIN, "messages", [(POOL, 100.0)], 4, 1000.0)).many == 4
    await store.link.command("SET", key, f"{now_ms() + 30_000}.000", "PX", 60_000)
    assert (await store.limits.take_tokens(DOMAIN, "messages", [(POOL, 100.0)], 4, 1000.0)).many == 0, (
        "a large step is another thing"
    )


async def test_k14_a_lane_and_a_sweep_that_were_leased_ahead_are_taken_over(open_store):
    store = await open_store()
    await store.link.command("HSET", keys.JOURNAL_OWNER, 0, f"dead|{now_ms() + DAYS}")
    await store.link.command("HSET", keys.JOURNAL_OWNER, 1, f"living|{now_ms() + 4000}")
    assert await store.outbox.lease(0, "heir", 5.0)
    assert not await store.outbox.lease(1, "heir", 5.0)
    await store.rules.put(Rule("r1", Selectors(tag="t"), 554), "c1")
    state = SweepState("r1", 1, SweepPhase.RUNNING, 0, 0, 1, 1, 0, "dead")
    assert await store.sweeps.save_sweep(state, DAYS / 1000)
    assert await store.sweeps.save_sweep(state._replace(owner="heir"), 5.0)
    assert not await store.sweeps.save_sweep(state._replace(owner="other"), 5.0)


@pytest.mark.parametrize("wrong", [DAYS / 1000, -DAYS / 1000])
async def test_k14_the_callers_clock_says_what_is_due_and_when_what_it_gives_back_is(open_store, monkeypatch, wrong):
    """Seen from the process the server's clock is wrong by days, one way or the other."""
    monkeypatch.setattr(process_clock, "offset", process_clock.offset - wrong)
    store = await open_store()
    now = process_clock.now_ms()
    later = now + 3_600_000
    assert await store.queues.accept(0, [message(due_at=now, expires_at=now + DAYS)]) is not None
    assert await store.queues.accept(0, [message(due_at=later, expires_at=now + DAYS)]) is not None
    assert len(await store.queues.agenda(0, [POOL], 10)) == 1
    (one,) = await store.claim(0)
    assert await store.claim(0) == [], "the other is due in an hour"
    await store.queues.reclaim(0, store.session.id, 10)
    due = await store.link.command(
        "ZRANGE", keys.due_key(keys.lane_prefix(0), POOL.encode(), DOMAIN.encode()), 0, -1, "WITHSCORES"
    )
    assert [
        (raw, abs(float(score) - at) < 60_000) for raw, score, at in zip(due[::2], due[1::2], (now, later), strict=True)
    ] == [
        (bytes(one.id), True),
        (due[2], True),
    ]
