"""The consumer of bounces: made once, whatever comes again, and again later where the store does not answer."""

import asyncio

import pytest
from msgspec.structs import replace

from mta.journal.auto_suppressions import AutoSuppressions
from mta.model.errors import StoreAway
from mta.model.status import Reason
from mta.model.suppressions import Suppressed, Suppression, SuppressionKey
from tests.support.suppressions import MemorySuppressions
from tests.unit.policy.test_auto_suppressions import AT, BOUNCE

ANNA = SuppressionKey("anna@x.test", "acme")


async def kept(sink: AutoSuppressions, *events) -> None:
    """As the journal's thread calls it."""

    def work() -> None:
        sink.add([("0.1", event) for event in events])
        sink.write()
        sink.sync()

    await asyncio.to_thread(work)


async def test_a_bounce_is_kept_once_it_is_synced() -> None:
    store = MemorySuppressions()
    sink = AutoSuppressions(store, asyncio.get_running_loop())
    await kept(sink, BOUNCE, replace(BOUNCE, recipient="bob@x.test", fault="sender"))
    assert {key: value.reason for key, value in store.kept.items()} == {ANNA: Reason.HARD_BOUNCE}
    await kept(sink, BOUNCE)
    assert len(store.tellings) == 1, "it came again"


async def test_a_suppression_that_is_there_stays_as_it_is_and_one_that_is_over_does_not() -> None:
    store = MemorySuppressions()
    sink = AutoSuppressions(store, asyncio.get_running_loop())
    await store.put([Suppressed(ANNA, Suppression(Reason.UNSUBSCRIBE, 1))])
    await kept(sink, BOUNCE)
    assert store.kept[ANNA].reason is Reason.UNSUBSCRIBE
    await store.put([Suppressed(ANNA, Suppression(Reason.UNSUBSCRIBE, 1, expires_at=AT))])
    await kept(sink, BOUNCE)
    assert store.kept[ANNA].reason is Reason.HARD_BOUNCE


async def test_where_the_store_is_away_the_events_come_again() -> None:
    store = MemorySuppressions()
    sink = AutoSuppressions(store, asyncio.get_running_loop())
    find = store.find

    async def away(keys):
        raise StoreAway("no answer")

    store.find = away  # type: ignore[method-assign]
    with pytest.raises(OSError, match="no answer"):
        await kept(sink, BOUNCE)
    store.find = find  # type: ignore[method-assign]
    await kept(sink, BOUNCE)
    assert ANNA in store.kept
