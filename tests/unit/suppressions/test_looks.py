"""The looks at suppressions: whose mail ends, and about whom the store is asked."""

import pytest

from mta.model.ids import delivery_id, new_message_id
from mta.model.mail import Claimed, QueueKey, Record
from mta.model.outcomes import Class
from mta.model.status import Reason
from mta.model.suppressions import Suppressed, Suppression, SuppressionKey
from mta.ports.admission import Undecided
from mta.suppressions.looks import SuppressionLooks
from mta.suppressions.watch import SuppressionWatch
from tests.support.suppressions import MemorySuppressions
from tests.unit.admission.test_at_acceptance import NOW, mail
from tests.unit.suppressions.test_watch import settled

OVER = Suppression(Reason.MANUAL, 1, expires_at=NOW)
VALUE = Suppression(Reason.UNSUBSCRIBE, 1, expires_at=NOW + 1)


async def looks(store: MemorySuppressions, *keys: SuppressionKey, value: Suppression = VALUE) -> SuppressionLooks:
    await store.put([Suppressed(key, value) for key in keys])
    watch = SuppressionWatch(store)
    await settled(watch)
    return SuppressionLooks(watch, store, clock=lambda: NOW)


@pytest.mark.parametrize(
    ("key", "tenant", "topic", "meets"),
    [
        (SuppressionKey("anna@x.test"), "", "", True),
        (SuppressionKey("anna@x.test"), "acme", "news", True),
        (SuppressionKey("x.test"), "", "", True),
        (SuppressionKey("test"), "", "", False),
        (SuppressionKey("sub.x.test"), "", "", False),
        (SuppressionKey("bob@x.test"), "", "", False),
        (SuppressionKey("anna@x.test", "acme"), "acme", "", True),
        (SuppressionKey("anna@x.test", "acme"), "", "", False),
        (SuppressionKey("anna@x.test", "acme"), "else", "", False),
        (SuppressionKey("anna@x.test", "", "news"), "acme", "news", True),
        (SuppressionKey("anna@x.test", "", "news"), "", "alerts", False),
        (SuppressionKey("anna@x.test", "", "news"), "", "", False),
        (SuppressionKey("x.test", "acme", "news"), "acme", "news", True),
    ],
)
async def test_a_suppression_meets_its_recipients_tenant_and_topic(key, tenant, topic, meets) -> None:
    look = await looks(MemorySuppressions(), key)
    message = mail("Anna@X.test".replace("X", "x"), "carl@y.test", tenant=tenant)
    message.topic = topic
    ends = await look.decide([Undecided(message, (1, 2))])
    found = [(one.number, one.ended, one.reason, one.topic) for one in ends.get(message.id, ())]
    assert found == ([(1, Class.FILTERED, "unsubscribe", key.topic)] if meets else [])


async def test_one_that_has_expired_meets_nobody_and_the_next_one_does() -> None:
    store = MemorySuppressions()
    look = await looks(store, SuppressionKey("anna@x.test"), value=OVER)
    message = mail("anna@x.test")
    assert await look.decide([Undecided(message, (1,))]) == {}
    look = await looks(store, SuppressionKey("x.test"))
    assert [one.by.id for one in (await look.decide([Undecided(message, (1,))]))[message.id]] == ["x.test"]


async def test_the_store_is_asked_about_hits_only() -> None:
    store = MemorySuppressions()
    look = await looks(store, SuppressionKey("anna@x.test"))
    await look.decide([Undecided(mail("bob@x.test", "carl@x.test"), (1, 2))])
    assert store.asked == []
    await look.decide([Undecided(mail("bob@x.test", "anna@x.test"), (1, 2))])
    assert store.asked == [SuppressionKey("anna@x.test")]


async def test_only_mail_that_has_waited_is_looked_at_again() -> None:
    look = await looks(MemorySuppressions(), SuppressionKey("anna@x.test"))
    now = NOW + 0

    def claimed(age: int, attempts: int = 0, to: str = "anna@x.test") -> Claimed:
        record = Record("s@y.test", to, (), 1, now - age, now + 1000, attempts=attempts)
        return Claimed(delivery_id(new_message_id(0, now), 1), b"1", QueueKey("default", "x.test"), record, b"")

    fresh, old, tried, other = claimed(10), claimed(60_000), claimed(10, 1), claimed(60_000, to="bob@x.test")
    assert set(await look.meet([fresh, old, tried, other], now)) == {old.id, tried.id}
