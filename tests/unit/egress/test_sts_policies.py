"""The policies of a worker: when they are fetched, shared, refreshed and kept (C-104)."""

import asyncio
from collections.abc import Mapping

from mta.egress.sts_policies import ASK_AGAIN, StsParts, StsPolicies
from mta.model.errors import StoreAway
from mta.policy.mta_sts import StsPolicy
from mta.ports.delivery import TextAnswer
from mta.ports.mta_sts import Fetched
from tests.support.egress_rig import FakeResolver

DAY = 86_400_000


class Store:
    """Of all workers."""

    def __init__(self) -> None:
        self.policies: dict[str, StsPolicy] = {}
        self.away = False

    async def all(self) -> Mapping[str, StsPolicy]:
        self._check()
        return dict(self.policies)

    async def get(self, domain: str) -> StsPolicy | None:
        self._check()
        return self.policies.get(domain)

    async def put(self, domain: str, policy: StsPolicy) -> None:
        self._check()
        self.policies[domain] = policy

    async def drop(self, domains: list[str]) -> None:
        for domain in domains:
            del self.policies[domain]

    def _check(self) -> None:
        if self.away:
            raise StoreAway("away")


class Fetcher:
    """One policy host for all domains."""

    def __init__(self) -> None:
        self.answer = Fetched("version: STSv1\nmode: enforce\nmx: mx.a.test\nmax_age: 604800\n")
        self.asked: list[str] = []

    async def fetch(self, domain: str) -> Fetched:
        self.asked.append(domain)
        await asyncio.sleep(0)
        return self.answer

    async def close(self) -> None:
        pass


class Place:
    def __init__(self) -> None:
        self.resolver, self.store, self.fetcher = FakeResolver(), Store(), Fetcher()
        self.now = 1_000_000
        self.failures: list[tuple[str, str]] = []
        self.publish("1")

    def publish(self, record: str) -> None:
        self.resolver.txt["_mta-sts.a.test"] = TextAnswer((f"v=STSv1; id={record};",))

    def worker(self) -> StsPolicies:
        loop = asyncio.get_running_loop()
        return StsPolicies(
            self.resolver,
            StsParts(self.store, self.fetcher),
            loop,
            lambda *failure: self.failures.append(failure),
            clock=lambda: self.now,
        )


async def test_c104_a_policy_is_fetched_once_for_all_workers() -> None:
    place = Place()
    first, second = place.worker(), place.worker()
    found = await asyncio.gather(*(first.of("a.test") for _ in range(20)))
    assert {policy.id for policy in found if policy is not None} == {"1"}
    assert (await second.of("a.test")) == found[0]
    assert place.fetcher.asked == ["a.test"]
    assert await first.of("b.test") is None
    assert place.fetcher.asked == ["a.test"]


async def test_c104_a_new_id_is_fetched_and_a_host_that_fails_keeps_the_policy() -> None:
    place = Place()
    worker = place.worker()
    old = await worker.of("a.test")
    place.publish("2")
    place.fetcher.answer = Fetched(failure="no answer")
    assert await worker.of("a.test") == old
    assert await worker.of("a.test") == old
    assert place.fetcher.asked == ["a.test"] * 2  # not again at once
    assert place.failures == [("a.test", "sts-policy-fetch-error")]
    place.now += ASK_AGAIN
    place.fetcher.answer = Fetched("version: STSv1\nmode: testing\nmx: mx.a.test\nmax_age: 604800\n")
    found = await worker.of("a.test")
    assert found is not None
    assert (found.id, found.mode) == ("2", "testing")


async def test_c104_a_record_that_is_gone_or_unknown_keeps_the_policy_until_it_expires() -> None:
    place = Place()
    old = await place.worker().of("a.test")
    for answer in (TextAnswer(), TextAnswer(failed=True)):
        place.resolver.txt["_mta-sts.a.test"] = answer
        assert await place.worker().of("a.test") == old  # also in a worker that starts later
    place.now += 604_800_000
    assert await place.worker().of("a.test") is None
    assert place.store.policies == {}


async def test_c104_a_policy_of_mode_none_ends_the_one_before() -> None:
    place = Place()
    worker = place.worker()
    await worker.of("a.test")
    place.publish("2")
    place.fetcher.answer = Fetched("version: STSv1\nmode: none\nmax_age: 86400\n")
    assert await worker.of("a.test") is None
    assert await place.worker().of("a.test") is None


async def test_c104_a_policy_is_refreshed_in_the_background_before_it_expires() -> None:
    place = Place()
    worker = place.worker()
    old = await worker.of("a.test")
    place.now += DAY
    assert await worker.of("a.test") == old  # mail does not wait for the refresh
    for _ in range(10):
        await asyncio.sleep(0)
    found = await worker.of("a.test")
    assert found is not None
    assert found.fetched_at == place.now
    assert place.fetcher.asked == ["a.test"] * 2


async def test_c104_a_policy_that_no_host_follows_is_fetched_anew() -> None:
    place = Place()
    worker = place.worker()
    await worker.of("a.test")
    worker.doubt("a.test")
    await worker.of("a.test")
    assert place.fetcher.asked == ["a.test"]  # it was fetched just now
    place.now += ASK_AGAIN
    worker.doubt("a.test")
    place.fetcher.answer = Fetched("version: STSv1\nmode: enforce\nmx: mx2.a.test\nmax_age: 604800\n")
    found = await worker.of("a.test")
    assert found is not None
    assert found.hosts == ("mx2.a.test",)


async def test_c104_bad_policies_and_a_store_that_is_away_stop_no_mail() -> None:
    place = Place()
    place.fetcher.answer = Fetched("<html>")
    assert await place.worker().of("a.test") is None
    place.fetcher.answer = Fetched(failure="the certificate is self-signed", bad_certificate=True)
    assert await place.worker().of("a.test") is None
    assert [kind for _, kind in place.failures] == ["sts-policy-invalid", "sts-webpki-invalid"]
    place.fetcher.answer = Fetcher().answer
    place.store.away = True
    assert await place.worker().of("a.test") is not None
    assert place.store.policies == {}
