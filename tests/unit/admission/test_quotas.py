"""Quotas at acceptance: the mail that finds room, the mail that does not, and the deliveries that are given back."""

import asyncio

import pytest

from mta.admission import quotas
from mta.admission.quotas import TenantQuotas
from mta.model.errors import StoreAway
from mta.model.outcomes import Class, Reply
from mta.model.quotas import HOUR_MS, CallQuota, Quota, QuotaUse
from mta.model.rules import Kind, Rule, Selectors
from mta.ports.admission import Ending, ReservingDecider, Undecided
from mta.ports.quotas import QuotaTaken
from tests.support.eventually import eventually
from tests.unit.admission.test_at_acceptance import mail

HOUR = 490_000


class Books:
    """The quotas of all processes, without a store."""

    def __init__(self, extra: int = 0) -> None:
        self.used_in: dict[int, int] = {}
        self.extra = extra  # deliveries that are granted beyond those that are needed
        self.calls = 0
        self.is_away = False

    async def take(self, tenant: str, quota: Quota, hour: int, needed: int, more: int) -> QuotaTaken:
        self.calls += 1
        await asyncio.sleep(0)
        if self.is_away:
            raise StoreAway("away")
        left = quota.per_hour - self.used_in.get(hour, 0)
        granted = min(left, needed + min(more, self.extra))
        self.used_in[hour] = self.used_in.get(hour, 0) + granted
        return QuotaTaken(granted, hour, 0 if granted >= needed else (hour + 1) * HOUR_MS)

    async def give_back(self, tenant: str, hour: int, count: int) -> None:
        self.used_in[hour] -= count

    async def used(self, tenant: str, hour: int) -> QuotaUse:
        raise AssertionError


class Bench:
    def __init__(self, books: Books, per_hour: int = 10) -> None:
        self.now = HOUR * HOUR_MS + 5
        self.terms = {"acme": terms(Quota(per_hour))}
        self.quotas = TenantQuotas(books, lambda: self.terms, clock=lambda: self.now)

    async def ask(self, *recipients: int, call: CallQuota | None = None, accepted: bool = True):
        """The answer to one message for each number of recipients: a reply, or the classes of those that end."""
        assert self.quotas.is_on
        batch = [mail(*(f"r{n}@x.test" for n in range(count)), tenant="acme") for count in recipients]
        for message in batch:
            message.call = call
        found = await self.quotas.decide(
            [Undecided(message, range(1, len(message.recipients) + 1)) for message in batch]
        )
        self.quotas.finished([message.id for message in batch], accepted)
        return [found.get(message.id) for message in batch]


def terms(quota: Quota | None) -> Rule:
    return Rule("r", Selectors(tenant="acme"), kind=Kind.TENANT, enabled=False, quota=quota)


def test_it_reserves_and_asks_nothing_of_mail_without_a_quota() -> None:
    bench = Bench(Books())
    assert isinstance(bench.quotas, ReservingDecider)
    bench.terms = {"acme": terms(None)}
    assert not bench.quotas.is_on


async def test_mail_of_other_tenants_costs_nothing() -> None:
    books = Books()
    bench = Bench(books)
    assert bench.quotas.is_on
    other = mail("a@x.test", tenant="other")
    assert await bench.quotas.decide([Undecided(other, [1])]) == {}
    assert books.calls == 0


async def test_a_message_of_smtp_comes_in_whole_or_is_refused_until_the_hour_ends() -> None:
    books = Books()
    bench = Bench(books)
    first, second, third = await bench.ask(6, 6, 4)
    assert (first, third) == (None, None)
    assert isinstance(second, Reply)
    assert (second.code, second.enhanced) == (452, "4.7.28")
    assert "quota of 10 deliveries an hour is used up until 2025-11-24T17:00:00.000Z" in second.text
    assert books.used_in == {HOUR: 10}
    bench.now += HOUR_MS
    assert await bench.ask(6) == [None]


async def test_a_message_that_can_never_come_in_is_refused_for_good() -> None:
    (found,) = await Bench(Books()).ask(11)
    assert isinstance(found, Reply)
    assert (found.code, found.enhanced) == (550, "5.7.1")
    assert "11 recipients" in found.text


async def test_the_rest_of_a_call_is_throttled_and_a_call_without_room_is_refused() -> None:
    bench = Bench(Books())
    call = CallQuota()
    first, second, third = await bench.ask(8, 4, 3, call=call)
    assert first is None
    assert [(end.number, end.ended) for end in second] == [(3, Class.THROTTLED), (4, Class.THROTTLED)]
    assert all(isinstance(end, Ending) and "10 deliveries an hour" in end.reason for end in second)
    assert [end.number for end in third] == [1, 2, 3]
    (refused,) = await bench.ask(20, call=CallQuota())
    assert isinstance(refused, Reply)
    assert refused.code == 452
    (later,) = await bench.ask(1, call=call)
    assert [end.ended for end in later] == [Class.THROTTLED]


async def test_a_slice_spares_the_store_most_questions() -> None:
    books = Books(extra=50)
    bench = Bench(books, 100)
    for _ in range(25):
        assert await bench.ask(2) == [None]
    assert books.calls == 1


async def test_mail_that_is_not_accepted_uses_nothing_up() -> None:
    books = Books()
    bench = Bench(books)
    await bench.ask(10, accepted=False)
    assert await bench.ask(10) == [None]
    await bench.quotas.close()
    assert books.used_in == {HOUR: 10}


async def test_a_store_that_is_away_keeps_what_was_reserved() -> None:
    books = Books(extra=4)
    bench = Bench(books, 100)
    await bench.ask(1)
    books.is_away = True
    with pytest.raises(StoreAway):
        await bench.ask(9)
    assert await bench.ask(4) == [None]
    await bench.quotas.close()
    assert books.used_in == {HOUR: 5}


async def test_a_slice_that_is_not_used_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quotas, "_IDLE", 0.01)
    books = Books(extra=50)
    bench = Bench(books, 100)
    await bench.ask(3)
    assert books.used_in == {HOUR: 53}
    await eventually(lambda: books.used_in == {HOUR: 3})


async def test_a_slice_ends_with_its_hour_and_with_its_quota() -> None:
    books = Books(extra=50)
    bench = Bench(books, 100)
    await bench.ask(3)
    bench.now += HOUR_MS
    await bench.ask(3)
    await asyncio.sleep(0)
    assert books.used_in == {HOUR: 3, HOUR + 1: 53}
    bench.terms = {"acme": terms(Quota(4))}
    assert isinstance((await bench.ask(5))[0], Reply)


async def test_batches_side_by_side_never_get_more_than_the_quota() -> None:
    books = Books(extra=7)
    benches = [Bench(books, 100) for _ in range(3)]
    found = await asyncio.gather(*(benches[n % 3].ask(3) for n in range(60)))
    accepted = sum(3 for (one,) in found if one is None)
    assert 90 <= accepted <= 100
    for bench in benches:
        await bench.quotas.close()
    assert books.used_in == {HOUR: accepted}
