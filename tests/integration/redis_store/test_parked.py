"""Parked mail listed, released and removed: the books stay sound, and what nobody can read is lost with an event."""

import time

import msgspec
import pytest

from mta.model.entries import unframed
from mta.model.events import Event, EventType
from mta.model.ids import message_of
from mta.model.mail import QueueKey
from mta.model.outcomes import Class
from mta.model.settings import DeliverySettings, NodeSettings, Settings
from mta.orders.parked import ParkedOrders
from mta.policy.shaping import Shaping
from mta.ports.parked import ParkedPlace, ParkedSelection
from mta.ports.queueing import ClaimRequest, Settled
from mta.redis_store import keys
from mta.redis_store.checker import Checker
from mta.scheduling import settlement
from mta.timing.clock import wall_ms
from tests.support.actors import ME
from tests.support.stores import DOMAIN, POOL, QUEUE, ended, message

ALL = ParkedSelection()
START = ParkedPlace()
TERMS = settlement.Terms("n1", DeliverySettings(), Shaping(Settings(node=NodeSettings(name="n1", data_dir="x"))))
_event = msgspec.msgpack.Decoder(Event).decode


def orders(store):
    return ParkedOrders(store.parked, store.message_store, "n1")


def soon():
    return time.monotonic() + 20.0


async def sound(store, **classes):
    report = await Checker(store.link, store.lanes).report()
    assert report.broken == []
    assert report.balanced
    for tag in ("", "red"):
        assert {name: count for name, count in report.recounted.get(tag, {}).items() if count} == classes, tag


async def park(store, lane=0, *, reclaims=5, **fields):
    """A delivery whose claim was lost so often that it was put aside."""
    new = message(lane, **fields)
    await store.queues.accept(lane, [new])
    queue = QueueKey(new.pool, new.recipients[0].domain)
    [claimed] = await store.queues.claim(lane, [ClaimRequest(queue, 1, new.share)], 1 << 20)
    claimed.reclaims = reclaims
    assert await store.queues.settle(lane, [settlement.park(claimed, wall_ms(), TERMS, "it fails")]) == [Settled.OK]
    return claimed.id


async def events_of(store, kind, lane=0):
    rows = await store.link.command("XRANGE", keys.lane_key(lane, b"events"), "-", "+")
    found = []
    for _, fields in rows:
        given = dict(zip(fields[::2], fields[1::2], strict=True))
        found += [_event(raw) for raw in unframed(given[b"e"], given.get(b"s", b"")) if raw != b"event"]
    return [event for event in found if event.type is kind]


async def test_parked_mail_is_listed_oldest_first_and_by_page(open_store):
    store = await open_store()
    ids = [await park(store, lane) for lane in (2, 0, 3, 0)]
    await park(store, 1, pool="other")
    page = await orders(store).page(ParkedSelection(pool=POOL), None, 3)
    rest = await orders(store).page(ParkedSelection(pool=POOL), page.behind, 3)
    assert [one.id for one in page.deliveries + rest.deliveries] == ids
    assert rest.behind is None
    assert page.deliveries[0].record.recipient == "a@example.com"
    await sound(store, parked=5)


@pytest.mark.parametrize("share", [{}, {"tenant": "acme", "priority": 1}])
async def test_released_mail_is_due_at_once_and_counts_as_if_it_had_not_been_parked(open_store, share):
    store = await open_store()
    id_ = await park(store, **share)
    assert (await store.books.tag("red"))["uncertain"] == 1
    done = await orders(store).release(ALL, ME, START, soon())
    assert ([one.id for one in done.done], done.unreadable, done.rest) == ([id_], 0, None)
    await sound(store, queued=1)
    assert (await store.books.tag("red")).get("uncertain", 0) == 0
    [event] = await events_of(store, EventType.RELEASE)
    assert (event.id, event.reason) == (id_, f"parked mail released by {ME.author}")
    [claimed] = await store.claim(0, share=message(**share).share)
    assert (claimed.reclaims, claimed.record.uncertain) == (0, True), "it is attempted again, and the doubt is kept"
    assert event.seq == claimed.record.seq
    assert await store.queues.settle(0, [ended(claimed)]) == [Settled.OK]
    assert (await store.books.tag("red"))["delivered"] == 1


async def test_the_time_that_mail_was_parked_does_not_count_towards_its_age(open_store):
    store = await open_store()
    await park(store)
    [parked] = (await orders(store).page(ALL, None, 9)).deliveries
    later = ParkedOrders(store.parked, store.message_store, "n1", lambda: parked.since + 3_600_000)
    await later.release(ALL, ME, START, soon())
    [waiting] = (await store.sweeps.scan(0, QUEUE, 0, 10))[1]
    assert waiting.record.expires_at == parked.record.expires_at + 3_600_000


async def test_removed_mail_ends_as_canceled_with_an_event(open_store):
    store = await open_store()
    id_, other = await park(store), await park(store, to=("b@example.org",))
    done = await orders(store).remove(ParkedSelection(domain=DOMAIN), ME, START, soon())
    assert [one.id for one in done.done] == [id_]
    await sound(store, parked=1)
    [event] = await events_of(store, EventType.CANCELLATION)
    assert (event.id, event.reason, event.uncertain) == (id_, f"parked mail removed by {ME.author}", True)
    [found] = await store.messages.show(message_of(id_))
    assert (found.state, found.uncertain) == (Class.CANCELED, True)
    assert [one.id for one in (await orders(store).page(ALL, None, 9)).deliveries] == [other]


async def test_selected_ids_alone_are_released(open_store):
    store = await open_store()
    first, second = await park(store), await park(store)
    done = await orders(store).release(ParkedSelection(frozenset({second})), ME, START, soon())
    assert [one.id for one in done.done] == [second]
    assert [one.id for one in (await orders(store).page(ALL, None, 9)).deliveries] == [first]
    await sound(store, queued=1, parked=1)


@pytest.mark.parametrize("raw", [b"\0nonsense", None], ids=["a damaged record", "no record"])
async def test_mail_that_nobody_can_read_stays_parked_until_it_is_removed(open_store, raw):
    store = await open_store()
    await store.queues.accept(0, [new := message(tags=())])
    [claimed] = await store.claim(0)
    unreadable = msgspec.structs.replace(claimed.record, recipient="")
    claimed.record, claimed.reclaims = unreadable, 255
    assert await store.queues.settle(0, [settlement.park(claimed, wall_ms(), TERMS, "unreadable")]) == [Settled.OK]
    rec = keys.lane_key(0, b"rec")
    await store.link.command(*(("HDEL", rec, claimed.id) if raw is None else ("HSET", rec, claimed.id, raw)))
    done = await orders(store).release(ALL, ME, START, soon())
    assert (done.done, done.unreadable) == ([], 1)
    [parked] = (await orders(store).page(ALL, None, 9)).deliveries
    assert parked.record is None
    done = await orders(store).remove(ALL, ME, START, soon())
    assert [one.id for one in done.done] == [claimed.id]
    await sound(store)
    assert (await store.books.total())["canceled"] == 1
    [event] = await events_of(store, EventType.CANCELLATION)
    assert (event.id, event.uncertain) == (claimed.id, True)
    assert await store.link.command("HEXISTS", keys.lane_key(0, b"content"), new.id) == 0


async def test_two_orders_about_the_same_mail_do_it_once(open_store):
    store = await open_store()
    await park(store)
    page = (await orders(store).page(ALL, None, 9)).deliveries
    planned = [orders(store)._release(one, one.record, ME, wall_ms()) for one in page]
    assert await store.parked.release(0, wall_ms(), planned) == [True]
    assert await store.parked.release(0, wall_ms(), planned) == [False]
    assert (await orders(store).remove(ALL, ME, START, soon())).done == []
    await sound(store, queued=1)
    assert len(await events_of(store, EventType.RELEASE)) == 1
