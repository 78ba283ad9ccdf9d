"""The resolver against a stub server over UDP and TCP (C-100, C-101, F-31)."""

import asyncio
from collections.abc import AsyncIterator

import aiodns
import pycares
import pytest

from mta.dns.resolver import DnsResolver
from tests.support.dns_stub import DROP, DnsStub
from tests.support.eventually import eventually


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def stub() -> AsyncIterator[DnsStub]:
    async with DnsStub() as stub:
        yield stub


@pytest.fixture
async def resolver(stub: DnsStub) -> AsyncIterator[DnsResolver]:
    resolver = DnsResolver([stub.address], timeout=3.0, tries=1, clock=Clock())
    yield resolver
    await resolver.close()


async def test_mx_by_preference(stub: DnsStub, resolver: DnsResolver) -> None:
    stub.mx("example.com", (20, "b.test"), (10, "a.test"))
    answer = await resolver.mx("example.com")
    assert answer.hosts == ("a.test", "b.test")


async def test_no_mx_is_the_domain_and_its_addresses(stub: DnsStub, resolver: DnsResolver) -> None:
    stub.a("example.com", "192.0.2.1", "192.0.2.2")
    stub.aaaa("example.com", "2001:db8::1")
    assert (await resolver.mx("example.com")).hosts == ("example.com",)
    addresses = (await resolver.addresses("example.com")).addresses
    assert sorted(addresses) == ["192.0.2.1", "192.0.2.2", "2001:db8::1"]


async def test_null_mx(stub: DnsStub, resolver: DnsResolver) -> None:
    stub.mx("example.com", (0, "."))
    answer = await resolver.mx("example.com")
    assert (answer.hosts, answer.temporary, answer.enhanced) == ((), False, "5.1.10")


async def test_a_domain_that_does_not_exist_is_permanent(resolver: DnsResolver) -> None:
    answer = await resolver.mx("nowhere.test")
    assert (answer.hosts, answer.temporary, answer.enhanced) == ((), False, "5.1.2")
    assert await resolver.addresses("nowhere.test") == ((), "the host nowhere.test does not exist", False)


@pytest.mark.parametrize("trouble", ["SERVFAIL", "REFUSED", DROP])
async def test_trouble_is_temporary(stub: DnsStub, resolver: DnsResolver, trouble: str) -> None:
    stub.fail("example.com", trouble)
    answer = await resolver.mx("example.com")
    assert (answer.hosts, answer.temporary, answer.enhanced) == ((), True, "4.4.3")
    assert (await resolver.addresses("example.com")).temporary


async def test_garbled_answers_are_temporary(stub: DnsStub, resolver: DnsResolver) -> None:
    stub.garbled.add("example.com")
    assert (await resolver.mx("example.com")).temporary


async def test_an_alias_is_followed(stub: DnsStub, resolver: DnsResolver) -> None:
    stub.cname("alias.test", "real.test")
    stub.mx("real.test", (10, "mx.real.test"))
    stub.a("real.test", "192.0.2.9")
    assert (await resolver.mx("alias.test")).hosts == ("mx.real.test",)
    assert (await resolver.addresses("alias.test")).addresses == ("192.0.2.9",)


async def test_a_long_answer_comes_over_tcp(stub: DnsStub, resolver: DnsResolver) -> None:
    stub.mx("example.com", *[(number, f"mx{number}.with.a.long.name.example.com") for number in range(200)])
    answer = await resolver.mx("example.com")
    assert len(answer.hosts) == 5
    assert answer.hosts[0].startswith("mx0.")
    assert stub.over_tcp == 1


async def test_answers_are_kept_for_a_while_at_least(stub: DnsStub, resolver: DnsResolver) -> None:
    clock = Clock()
    resolver._clock = clock
    stub.mx("example.com", (10, "a.test"), ttl=0)
    await resolver.mx("example.com")
    clock.now = 4.9
    await resolver.mx("EXAMPLE.com.")
    assert stub.asked["example.com", "MX"] == 1
    clock.now = 5.1
    stub.mx("example.com", (10, "b.test"), ttl=0)
    assert (await resolver.mx("example.com")).hosts == ("b.test",)
    assert stub.asked["example.com", "MX"] == 2


async def test_equal_questions_are_asked_once(stub: DnsStub, resolver: DnsResolver) -> None:
    stub.mx("example.com", (10, "a.test"))
    stub.delay = 0.05
    first = asyncio.ensure_future(resolver.mx("example.com"))
    others = [asyncio.ensure_future(resolver.mx("example.com")) for _ in range(50)]
    await asyncio.sleep(0)
    first.cancel()
    answers = await asyncio.gather(*others)
    assert {answer.hosts for answer in answers} == {("a.test",)}
    assert stub.asked["example.com", "MX"] == 1


async def test_a_name_that_cannot_be_asked_does_not_exist(resolver: DnsResolver) -> None:
    answer = await resolver.mx("a" * 70 + ".test")
    assert not answer.hosts
    assert not answer.temporary


async def test_a_name_that_takes_its_time_is_found_although_the_server_was_fast_before(stub: DnsStub) -> None:
    resolver = DnsResolver([stub.address])
    stub.mx("slow.test", (10, "mx.test"))
    for number in range(10):
        await resolver.mx(f"fast{number}.test")
    stub.delay = 1.2  # c-ares now waits 250, 500 and 1,000 ms
    answer = await resolver.mx("slow.test")
    await resolver.close()
    assert answer.hosts == ("mx.test",)


async def test_c100_a_question_that_was_lost_and_is_not_repeated_is_asked_anew(
    stub: DnsStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Forgetful(aiodns.DNSResolver):
        forgotten = 0

        def query_dns(self, host: str, qtype: str, qclass: str | None = None) -> asyncio.Future[pycares.DNSResult]:
            if not self.forgotten:
                self.forgotten += 1
                return asyncio.get_running_loop().create_future()
            return super().query_dns(host, qtype, qclass)

    monkeypatch.setattr(aiodns, "DNSResolver", Forgetful)
    monkeypatch.setattr("mta.dns.resolver.ASKED_ANEW_AFTER", 0.1)
    stub.mx("example.com", (10, "a.test"))
    resolver = DnsResolver([stub.address], timeout=60.0)
    try:
        assert (await resolver.mx("example.com")).hosts == ("a.test",)
        assert stub.asked["example.com", "MX"] == 1
    finally:
        await resolver.close()


async def test_d13_a_malformed_answer_leaves_the_other_questions_alone(stub: DnsStub) -> None:
    resolver = DnsResolver([stub.address])
    stub.garbage.add("bad.test")
    for number in range(50):
        stub.mx(f"d{number}.test", (10, f"mx{number}.test"))
    stub.delay = 0.2
    others = [asyncio.ensure_future(resolver.mx(f"d{number}.test")) for number in range(50)]
    await eventually(lambda: stub.asked.total() >= 50)
    bad = await resolver.mx("bad.test")
    answers = await asyncio.gather(*others)
    assert [answer.hosts for answer in answers] == [(f"mx{number}.test",) for number in range(50)]
    assert (bad.hosts, bad.temporary, bad.enhanced) == ((), True, "4.4.3")
    await resolver.close()


async def test_d13_a_name_that_is_answered_with_garbage_is_asked_about_alone_from_then_on(stub: DnsStub) -> None:
    clock = Clock()
    resolver = DnsResolver([stub.address], clock=clock)
    stub.garbage.add("bad.test")
    assert (await resolver.mx("bad.test")).temporary
    clock.now = 10.0
    stub.delay = 0.1
    other = asyncio.ensure_future(resolver.mx("nowhere.test"))
    await eventually(lambda: stub.asked["nowhere.test", "MX"])
    assert (await resolver.mx("bad.test")).temporary
    assert not (await other).temporary
    assert stub.distinct("nowhere.test", "MX") <= 2
    await resolver.close()


async def test_that_a_name_has_no_ipv6_address_is_known_for_five_minutes_and_the_rest_for_one(stub: DnsStub) -> None:
    clock = Clock()
    resolver = DnsResolver([stub.address], timeout=5.0, tries=1, clock=clock)
    try:
        asked = []
        for clock.now in (0.0, 200.0, 301.0):
            await resolver.addresses("nowhere.test")
            asked.append([stub.asked["nowhere.test", kind] for kind in ("A", "AAAA")])
        assert asked == [[1, 1], [2, 1], [3, 2]]
    finally:
        await resolver.close()
