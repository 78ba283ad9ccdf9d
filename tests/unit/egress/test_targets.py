"""Where mail goes, and which IP it comes from."""

from collections import Counter

import pytest

from mta.egress.sending_ips import SendingIps, Source
from mta.egress.targets import Target, Targets, find_targets
from mta.model.outcomes import Verdict
from mta.model.settings import Address, DeliverySettings, NodeSettings, PoolSettings, Settings
from mta.policy.failures import Trouble
from mta.policy.routes import Route, Routes
from mta.ports.delivery import AddressAnswer, MxAnswer
from tests.support.egress_rig import FakeResolver

OWN = (Address("127.0.0.1", 2525), Address("192.0.2.99", 25))


@pytest.fixture
def resolver() -> FakeResolver:
    resolver = FakeResolver()
    resolver.hosts["example.com"] = MxAnswer(("mx1.test", "mx2.test"))
    resolver.ips["mx1.test"] = AddressAnswer(("192.0.2.1", "192.0.2.2", "192.0.2.3"))
    resolver.ips["mx2.test"] = AddressAnswer(("2001:db8::1",))
    return resolver


async def find(resolver: FakeResolver, domain: str, **delivery: object) -> list[Target] | Trouble:
    (route,) = Routes(DeliverySettings(**delivery), {}).of(domain)  # type: ignore[arg-type]
    found = await find_targets(domain, route, 25, OWN, resolver)
    return found.in_order if isinstance(found, Targets) else found


async def test_two_addresses_of_each_host_c100(resolver: FakeResolver) -> None:
    assert await find(resolver, "example.com") == [
        Target("mx1.test", "192.0.2.1", 25),
        Target("mx1.test", "192.0.2.2", 25),
        Target("mx2.test", "2001:db8::1", 25),
    ]


@pytest.mark.parametrize(
    ("addresses", "verdict", "enhanced"),
    [
        (AddressAnswer((), "does not exist"), Verdict.PERMANENT, "5.4.4"),
        (AddressAnswer((), "SERVFAIL", True), Verdict.TEMPORARY, "4.4.3"),
        (AddressAnswer(("127.0.0.1",)), Verdict.PERMANENT, "5.4.4"),
        (AddressAnswer(("0.0.0.0",)), Verdict.PERMANENT, "5.4.4"),
        (AddressAnswer(("192.0.2.99",)), Verdict.PERMANENT, "5.4.6"),
    ],
)
async def test_mx_that_cannot_be_used_never_falls_back_to_a_c100(
    resolver: FakeResolver, addresses: AddressAnswer, verdict: Verdict, enhanced: str
) -> None:
    resolver.hosts["bad.test"] = MxAnswer(("mx.bad.test",))
    resolver.ips["mx.bad.test"] = addresses
    resolver.ips["bad.test"] = AddressAnswer(("192.0.2.5",))
    trouble = await find(resolver, "bad.test")
    assert isinstance(trouble, Trouble)
    assert (trouble.verdict, trouble.reply.enhanced) == (verdict, enhanced)


async def test_hosts_behind_ourselves_are_not_tried_c100(resolver: FakeResolver) -> None:
    resolver.hosts["ours.test"] = MxAnswer(("mx1.test", "me.test", "mx2.test"))
    resolver.ips["me.test"] = AddressAnswer(("192.0.2.99",))
    targets = await find(resolver, "ours.test")
    assert isinstance(targets, list)
    assert {target.host for target in targets} == {"mx1.test"}


async def test_a_domain_that_does_not_exist(resolver: FakeResolver) -> None:
    trouble = await find(resolver, "nowhere.test")
    assert isinstance(trouble, Trouble)
    assert (trouble.verdict, trouble.reply.code, trouble.reply.enhanced) == (Verdict.PERMANENT, 550, "5.1.2")


async def test_literals_and_routes(resolver: FakeResolver) -> None:
    assert await find(resolver, "[192.0.2.7]") == [Target("192.0.2.7", "192.0.2.7", 25)]
    assert isinstance(await find(resolver, "[127.0.0.1]"), Trouble)
    assert isinstance(await find(resolver, "[1.2.3]"), Trouble)
    assert await find(resolver, "any.test", route="127.0.0.1:2626") == [
        Target("127.0.0.1", "127.0.0.1", 2626, Route("127.0.0.1:2626", Address("127.0.0.1", 2626)))
    ]
    assert await find(resolver, "any.test", route="mx2.test:26") == [
        Target("mx2.test", "2001:db8::1", 26, Route("mx2.test:26", Address("mx2.test", 26)))
    ]
    loop = await find(resolver, "any.test", route="127.0.0.1:2525")
    assert isinstance(loop, Trouble)
    assert (loop.verdict, loop.reply.enhanced) == (Verdict.TEMPORARY, "4.4.6")


def test_ips_of_a_pool_are_taken_by_weight_and_family() -> None:
    pools = {
        "news": PoolSettings(ips=("192.0.2.1", "192.0.2.2", "2001:db8::2"), weights={"192.0.2.1": 3}, ehlo="news.test"),
        "plain": PoolSettings(),
    }
    ips = SendingIps(Settings(node=NodeSettings(name="node.test", data_dir="unused"), pools=pools))
    taken = Counter(source.ip for _ in range(40) if (source := ips.pick("news", 4)))
    assert taken == {"192.0.2.1": 30, "192.0.2.2": 10}
    assert ips.pick("news", 6) == Source("2001:db8::2", "news.test")
    assert ips.pick("@192.0.2.9", 4) == Source("192.0.2.9", "node.test")
    assert ips.pick("@192.0.2.9", 6) is None
    assert ips.pick("plain", 6) == ips.pick("default", 4) == Source("", "node.test")


async def test_hosts_and_addresses_are_named_in_one_form() -> None:
    found = await find(FakeResolver(), "example.com", route="2001:DB8::0:1".join("[]") + ":25")
    assert isinstance(found, list)
    assert [(target.host, target.ip) for target in found] == [("2001:db8::0:1", "2001:db8::1")]
    resolver = FakeResolver()
    resolver.ips["MX.Example."] = AddressAnswer(("192.0.2.1",))
    found = await find(resolver, "example.com", route="MX.Example.:25")
    assert isinstance(found, list)
    assert [target.host for target in found] == ["mx.example"]


def test_ips_are_chosen_from_the_pools_that_are_in_force_now() -> None:
    pools = {"news": PoolSettings(ips=("192.0.2.1", "192.0.2.2")), "bulk": PoolSettings(ips=("192.0.2.3",))}
    ips = SendingIps(Settings(node=NodeSettings(name="node.test", data_dir="unused"), pools=pools))
    assert ips.pick("news", 4) == Source("192.0.2.1", "node.test")
    assert ips.take({"news": PoolSettings(ips=("192.0.2.2",)), "more": PoolSettings()}) == {"news", "bulk", "more"}
    assert ips.take({"news": PoolSettings(ips=("192.0.2.2",)), "more": PoolSettings()}) == set()
    assert {ips.pick("news", 4) for _ in range(4)} == {Source("192.0.2.2", "node.test")}
    assert ips.pick("bulk", 4) is None, "mail of a pool that left must not leave by an address that the system chooses"
    assert [ips.serves(pool) for pool in ("news", "bulk", "news@192.0.2.1", "news@192.0.2.2", "@192.0.2.9")] == [
        True,
        False,
        False,
        True,
        True,
    ]
    assert [ips.may_use("news", ip) for ip in ("192.0.2.1", "192.0.2.2")] == [False, True]
    assert ips.may_use("more", "192.0.2.77")
    assert not ips.may_use("bulk", "192.0.2.3")
    ips.take(pools)
    assert ips.serves("bulk")
