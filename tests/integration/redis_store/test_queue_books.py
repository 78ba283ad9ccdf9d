"""The queues as the API lists them, against a server and a Cluster."""

import time

import msgspec
import pytest

from mta.model.ids import new_message_id
from mta.model.mail import QueueKey
from mta.model.outcomes import Reply
from mta.model.rules import NO_HEAD
from mta.orders.queue_counts import QueueCounter
from mta.ports.queue_work import MailSelection
from mta.ports.queueing import ClaimRequest, Move
from mta.redis_store import pool_depths, queue_books
from mta.redis_store.queue_books import QueueBooks
from tests.support.stores import DOMAIN, QUEUE, FewSites, ended, message, queued


def aged(lane: int, seconds: int, **more):
    """A message that was accepted as long ago."""
    at = int(time.time() * 1000) - seconds * 1000
    return message(lane, id=new_message_id(lane, at), accepted_at=at, **more)


async def test_o7_a_queue_is_what_is_due_later_claimed_and_held(open_store):
    store = await open_store()
    await store.rules.confirm(1, NO_HEAD, (), {})
    now = int(time.time() * 1000)
    await store.queues.accept(0, [message() for _ in range(4)])
    claimed = await store.claim(0)
    await store.queues.settle(
        0,
        [
            queued(claimed[0], 77, msgspec.structs.replace(claimed[0].record, held_at=7), move=Move.HOLD, rule="p1"),
            queued(claimed[1], 78, msgspec.structs.replace(claimed[1].record, held_at=7), move=Move.HOLD, rule="p2"),
            queued(
                claimed[2],
                now + 60_000,
                msgspec.structs.replace(claimed[2].record, attempts=2, last=Reply(450, "4.2.1", "later")),
            ),
        ],
    )
    oldest = aged(1, 500, due_at=now + 90_000)
    await store.queues.accept(1, [aged(1, 100), oldest])
    [counts] = await store.books.queues()
    assert (counts.queue, counts.due, counts.scheduled, counts.claimed, counts.held) == (QUEUE, 1, 2, 1, 2)
    assert counts.pauses == {"p1": 1, "p2": 1}
    assert counts.oldest == oldest.accepted_at, "although it is due last"
    assert 0 < counts.next_due < now + 60_000
    assert counts.first.attempts == 0, "of what is due first"
    [later] = [c for c in await store.books.queues(domain=DOMAIN) if c.queue == QUEUE]
    assert later == counts


async def test_o7_a_queue_of_which_all_is_held_is_listed(open_store):
    store = await open_store()
    await store.queues.accept(2, [aged(2, 300) for _ in range(5)])
    held = [
        queued(c, 77, msgspec.structs.replace(c.record, held_at=7), move=Move.HOLD, rule="p1")
        for c in await store.claim(2)
    ]
    await store.queues.settle(2, held)
    [counts] = await store.books.queues(pool=QUEUE.pool, domain=DOMAIN)
    assert (counts.due, counts.scheduled, counts.claimed, counts.held, counts.next_due) == (0, 0, 0, 5, 0)
    assert 299_000 < time.time() * 1000 - counts.oldest < 400_000
    assert await store.books.queues(domain="other.example") == []
    assert await store.books.queues(pool="other") == []
    assert await store.books.unmet([DOMAIN]) == []
    assert await store.books.unmet(["*.com"]) == []


async def test_o7_the_last_reply_is_that_of_the_delivery_which_is_due_first(open_store):
    store = await open_store()
    await store.queues.accept(0, [message()])
    [claimed] = await store.claim(0)
    now = int(time.time() * 1000)
    record = msgspec.structs.replace(claimed.record, attempts=2, last=Reply(450, "4.2.1", "later"))
    await store.queues.settle(0, [queued(claimed, now + 60_000, record)])
    await store.queues.accept(1, [message(1, due_at=now + 90_000)])
    [counts] = await store.books.queues()
    assert (counts.scheduled, counts.next_due, counts.first.attempts) == (2, now + 60_000, 2)
    assert counts.first.last == Reply(450, "4.2.1", "later")


@pytest.mark.parametrize(("ids_at_once", "steps_of_a_lane"), [(5000, 1), (5, 4)])
async def test_o7_a_page_costs_one_step_for_a_lane_unless_it_would_read_too_many_ids(
    open_store, monkeypatch: pytest.MonkeyPatch, ids_at_once: int, steps_of_a_lane: int
):
    monkeypatch.setattr(queue_books, "_IDS_AT_ONCE", ids_at_once)
    store = await open_store()
    names = [f"d{number:02}.example" for number in range(40)]
    for lane in range(store.lanes):
        await store.queues.accept(lane, [message(lane, to=tuple(f"a@{name}" for name in names))])
    steps = []
    call = store.link.call

    async def counted(function, *arguments, **options):
        steps.append(function)
        return await call(function, *arguments, **options)

    monkeypatch.setattr(store.link, "call", counted)
    page = await store.books.queues(most=20)
    assert [counts.queue.domain for counts in page] == names[:20]
    assert [counts.due for counts in page] == [store.lanes] * 20
    assert steps.count(b"queue_counts") == steps_of_a_lane * store.lanes
    rest = await store.books.queues(after=page[-1].queue)
    assert [counts.queue.domain for counts in rest] == names[20:]


@pytest.mark.parametrize("many", [3, 4, 5, 9])
async def test_o7_the_oldest_is_exact_up_to_two_samples(open_store, monkeypatch: pytest.MonkeyPatch, many: int):
    monkeypatch.setattr(queue_books, "SAMPLE", 2)
    store = await open_store()
    now = int(time.time() * 1000)
    for oldest in range(min(many, 4)):  # in the order of due times; with two samples of two, four places are seen
        place = oldest if oldest < 2 else many - 4 + oldest if many > 4 else oldest
        domain = f"o{oldest}.example"
        mail = [
            aged(0, 1000 if at == place else 10, due_at=now + 1000 * (at + 60), to=(f"a@{domain}",))
            for at in range(many)
        ]
        await store.queues.accept(0, mail)
        [counts] = await store.books.queues(domain=domain)
        assert (counts.scheduled, counts.oldest) == (many, mail[place].accepted_at)


async def test_o7_what_is_held_is_counted_in_pages_and_not_for_everybody_who_asks(
    open_store, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(queue_books, "_HELD_PAGE", 2)
    store = await open_store()
    await store.queues.accept(0, [message(0, to=("a@x.example", "b@x.example", "c@y.example", "d@example.com"))])
    await store.queues.accept(1, [message(1) for _ in range(4)])
    for lane in (0, 1):
        for domain in (DOMAIN, "x.example", "y.example"):
            claimed = await store.queues.claim(lane, [queue_want(domain)], 1 << 22)
            settlements = [queued(c, 77, move=Move.HOLD, rule="p1") for c in claimed]
            if settlements:
                await store.queues.settle(lane, settlements)
    clock = iter([0.0, 1.0, 20.9, 21.1, 21.2]).__next__  # the first count takes a second
    books = QueueBooks(store.link, store.lanes, clock)

    async def held():
        return {counts.queue.domain: counts.held for counts in await books.queues(None, None, None, None)}

    assert await held() == {DOMAIN: 5, "x.example": 2, "y.example": 1}
    await store.queues.accept(2, [message(2)])
    [more] = await store.claim(2)
    await store.queues.settle(2, [queued(more, 77, move=Move.HOLD, rule="p1")])
    assert await held() == {DOMAIN: 5, "x.example": 2, "y.example": 1}, "20.9 s: the count of before"
    assert await held() == {DOMAIN: 6, "x.example": 2, "y.example": 1}, "21.1 s: counted anew"


async def test_o12_the_pages_of_a_list_share_the_names_of_its_first_page(open_store):
    store, now = await open_store(), [100.0]
    await store.queues.accept(0, [message(0, to=("a@a.example", "b@b.example", "c@c.example"))])
    books = QueueBooks(store.link, store.lanes, lambda: now[0])

    async def page(after, most=1):
        return [(one.queue.domain, one.due) for one in await books.queues(None, None, after, most)]

    assert await page(None) == [("a.example", 1)]
    await store.queues.accept(1, [message(1, to=("b@b.example", "d@a2.example"))])
    assert await page(QUEUE._replace(domain="a.example"), 2) == [("b.example", 1), ("c.example", 1)]
    assert await page(None, None) == [("a.example", 1), ("a2.example", 1), ("b.example", 2), ("c.example", 1)]
    now[0] += 5.0
    assert await page(QUEUE._replace(domain="a.example"), 2) == [("a2.example", 1), ("b.example", 2)]
    assert await page(QUEUE._replace(domain="b.example"), 2) == [("c.example", 1)]


def queue_want(domain: str):
    return ClaimRequest(QueueKey(QUEUE.pool, domain), 100)


async def test_o3_tags_that_no_mail_carried_and_domains_without_mail(open_store):
    store = await open_store()
    await store.queues.accept(3, [message(3, tags=("red", "ü"), to=("a@mail.example.com",))])
    assert await store.books.unseen(["red", "rde", "ü", "x"]) == ["rde", "x"]
    assert await store.books.unseen([]) == []
    known = {"mail.example.com": True, "*.example.com": True, "*.com": True}
    known |= {"example.com": False, "*.mail.example.com": False, "gmail": False, "*.gmail": False}
    assert {domain: not await store.books.unmet([domain]) for domain in known} == known
    assert await store.books.unmet(list(known)) == [domain for domain, waits in known.items() if not waits]


async def test_r9_the_depth_of_a_pool_is_the_sum_of_its_queues(open_store, monkeypatch):
    monkeypatch.setattr(pool_depths, "_PAGE", 3)
    store = await open_store()
    await store.rules.confirm(1, NO_HEAD, (), {})
    later = int(time.time() * 1000) + 3_600_000
    oldest = aged(1, 500, to=("a@d1.example",))
    for lane in range(store.lanes):
        await store.queues.accept(lane, [message(lane, to=(f"a@d{n}.example",)) for n in range(8)])
        await store.queues.accept(lane, [message(lane, to=("a@d0.example",), due_at=later)])
    await store.queues.accept(1, [oldest, message(1, to=("a@x.example",), pool="@2001:db8::1")])
    held, *_ = await store.queues.claim(2, [ClaimRequest(QueueKey("default", "d1.example"), 1)], 1 << 20)
    record = msgspec.structs.replace(held.record, held_at=7)
    await store.queues.settle(2, [queued(held, 77, record, move=Move.HOLD, rule="p1")])
    await store.queues.claim(2, [ClaimRequest(QueueKey("default", "d2.example"), 1)], 1 << 20)
    found = await store.books.depths()
    assert found["default"][:4] == (8 * store.lanes - 2 + 1, store.lanes, 1, 1)
    assert found["default"].oldest == oldest.accepted_at
    assert found["@2001:db8::1"][:4] == (1, 0, 0, 0)
    whole = [counts for counts in await store.books.queues() if counts.queue.pool == "default"]
    assert found["default"].due == sum(counts.due for counts in whole)


async def test_o12_a_tenant_counts_its_own_mail_alone(open_store):
    store = await open_store()
    await store.rules.confirm(1, NO_HEAD, (), {})
    await store.queues.accept(0, [message(tenant="acme"), message(tenant="acme", priority=1), message()])
    await store.queues.accept(1, [message(1, tenant="other"), message(1, to=("a@b.test",))])
    [claimed] = await store.claim(0, share="acme")
    [counts] = await store.books.queues(tenant="acme")
    assert (counts.queue, counts.due, counts.claimed) == (QUEUE, 1, 1)
    assert await store.books.queues(tenant="nobody") == []
    assert sum(counts.due for counts in await store.books.queues(tenant="")) == 2
    assert sum(counts.due for counts in await store.books.queues()) == 4
    await store.queues.settle(0, [ended(claimed)])


async def test_o12_the_mail_of_a_tag_is_counted_by_reading_it(open_store):
    store, now = await open_store(), int(time.time() * 1000)
    await store.rules.confirm(1, NO_HEAD, (), {})
    await store.queues.accept(0, [message(tags=("x", "red")), message(), message(tags=("x",), due_at=now + 60_000)])
    await store.queues.accept(1, [message(1, tags=("x",), tenant="acme"), message(1, to=("a@b.test",))])
    await store.queues.accept(2, [message(2, to=("a@c.test",), tags=("x",))])
    counter = QueueCounter(store.queue_work, store.sweeps, FewSites())
    x = MailSelection(tag="x")
    found, behind = await counter.counts(x, None, 10, now + 1000)
    assert [(one.queue.domain, one.due, one.scheduled, one.claimed) for one in found] == [
        ("c.test", 1, 0, 0),
        ("example.com", 2, 1, 0),
    ]
    assert behind is None
    first, behind = await counter.counts(x, None, 1, now)
    assert ([one.queue.domain for one in first], behind) == (["c.test"], QueueKey(QUEUE.pool, "c.test"))
    rest, _ = await counter.counts(x, behind, 10, now)
    assert [one.queue.domain for one in rest] == ["example.com"]
    claimed = await store.claim(0)
    [_, counts] = (await counter.counts(x, None, 10, now + 1000))[0]
    assert (counts.due, counts.scheduled, counts.claimed) == (1, 1, 1)
    of_site, _ = await counter.counts(MailSelection(tag="red", site="big"), None, 10, now + 1000)
    assert [one.queue.domain for one in of_site] == ["b.test"]
    [counts] = (await counter.counts(MailSelection(tag="x", tenant="acme"), None, 10, now + 1000))[0]
    assert (counts.due, counts.claimed) == (1, 0)
    await store.queues.settle(0, [ended(one) for one in claimed])
