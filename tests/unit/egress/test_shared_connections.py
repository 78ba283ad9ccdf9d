import gc
import weakref

import pytest

from mta.egress import egress
from mta.model.destination_settings import DomainSettings, SiteSettings
from mta.model.outcomes import ReturnReason, Verdict
from mta.ports.delivery import AddressAnswer, MxAnswer
from tests.support.egress_rig import Rig
from tests.support.eventually import eventually
from tests.support.sink import HOLD, Sink
from tests.support.valkey import free_port


def to(sink: Sink) -> str:
    return f"{sink.host}:{sink.port}"


async def test_domains_with_the_same_host_use_one_anothers_connections() -> None:
    async with Sink() as sink, Rig(route=to(sink)) as rig:
        for number in range(20):
            rig.send(f"a@d{number}.test")
            await rig.settle.until(number + 1)
        assert sink.connections == 1
        assert len({message.recipients[0] for message in sink.taken}) == 20


async def test_most_outlets_whose_connection_went_on_are_dropped_at_once_and_made_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(egress, "_tick", lambda settings: 3600.0)
    async with Sink() as sink, Rig(route=to(sink)) as rig:
        for number in range(3 * egress._MOST_EMPTY):
            rig.send(f"a@d{number}.test")
            await rig.settle.until(number + 1)
        outlets = rig.egress._outlets
        assert egress._MOST_EMPTY // 2 <= len(outlets) <= egress._MOST_EMPTY + 2
        assert [queue.domain for queue in outlets][-1] == f"d{3 * egress._MOST_EMPTY - 1}.test"
        rig.send("b@d0.test")
        await rig.settle.until(3 * egress._MOST_EMPTY + 1)
        assert sink.connections == 1


async def test_a_domain_with_settings_of_its_own_and_another_pool_keep_to_their_connections() -> None:
    own = {"domains": {"own.test": DomainSettings(messages_per_connection=9)}}
    async with Sink() as sink, Rig(own, route=to(sink)) as rig:
        for number, (address, pool) in enumerate((("a@a.test", "p"), ("a@own.test", "p"), ("a@b.test", "q"))):
            rig.send(address, pool=pool)
            await rig.settle.until(number + 1)
        assert sink.connections == 3


async def test_a_queue_hands_its_connection_on_after_a_turn_while_others_wait_for_it() -> None:
    async with Sink() as sink, Rig(route=to(sink), connections=1) as rig:
        sink.script["."] = HOLD
        for _ in range(30):
            rig.send("a@deep.test")
        await sink.until(lambda sink: len(sink.received) == 1)
        rig.send("a@small.test")
        await eventually(lambda: "waiting=1" in repr(rig.egress._budget))
        sink.script.pop(".")
        sink.release("250 2.0.0 ok")
        await rig.settle.until(31)
        order = [message.recipients[0] for message in sink.taken]
        assert order.index("a@small.test") <= 12
        assert sink.most_open == 1


@pytest.mark.parametrize(("first", "used"), [(1, "mx1.test"), (2, "mx2.test")])
async def test_a_connection_to_a_host_of_lower_preference_is_not_used_before_the_better_host_was_tried_c100(
    first: int, used: str
) -> None:
    """A connection to mx2 is idle; the domain prefers mx1, or holds both for equal."""
    async with Sink("127.0.0.2", free_port()) as one, Sink("127.0.0.3", one.port) as two, Rig(mx_port=one.port) as rig:
        rig.resolver.hosts["other.test"] = MxAnswer(("mx2.test",))
        rig.resolver.hosts["example.com"] = MxAnswer(("mx1.test", "mx2.test"), first=first)
        rig.resolver.ips["mx1.test"] = AddressAnswer(("127.0.0.2",))
        rig.resolver.ips["mx2.test"] = AddressAnswer(("127.0.0.3",))
        rig.send("a@other.test")
        await rig.settle.until(1)
        rig.send("a@example.com")
        await rig.settle.until(2)
        assert (rig.settle.by_recipient()["a@example.com"].mx, one.connections, two.connections) == (used, 2 - first, 1)


async def test_the_slot_of_an_idle_connection_goes_to_another_domain_of_the_site() -> None:
    limited = {"sites": {"big": SiteSettings(connections=1)}}
    async with Sink() as sink, Rig(limited, route=to(sink)) as rig:
        rig.limits.connections = 1
        rig.sites.named = {f"d{number}.test": "big" for number in range(5)} | {sink.host: "big"}
        for number in range(5):
            rig.send(f"a@d{number}.test")
        await rig.settle.until(5)
        assert (sink.most_open, rig.limits.most_taken) == (1, 1)


async def test_mail_goes_back_unattempted_when_only_the_limits_of_the_host_keep_it() -> None:
    """The domain was not known to belong to the site when its mail was claimed."""
    limited = {"sites": {"big": SiteSettings(connections=1)}}
    async with Sink() as sink, Rig(limited, route=to(sink)) as rig:
        rig.sites.named = {sink.host: "big"}
        rig.limits.full.add("big")
        rig.send("a@d.test")
        (outcome,) = await rig.settle.until(1)
        assert outcome.returned is ReturnReason.NO_SLOT
        rig.limits.full.clear()
        rig.send("a@d.test")
        (_, outcome) = await rig.settle.until(2)
    assert outcome.verdict is Verdict.DELIVERED


async def test_mail_that_went_back_for_want_of_a_slot_leaves_nothing_in_the_line_for_connections() -> None:
    """Otherwise a few such queues keep the others from claiming mail while no connection is open."""
    limited = {"sites": {"big": SiteSettings(connections=1)}}
    async with Sink() as sink, Rig(limited, route=to(sink)) as rig:
        rig.sites.named = {f"d{number}.test": "big" for number in range(9)} | {sink.host: "big"}
        rig.limits.full.add("big")
        for number in range(9):
            rig.send(f"a@d{number}.test")
        outcomes = await rig.settle.until(9)
        assert {outcome.returned for outcome in outcomes} == {ReturnReason.NO_SLOT}
        # The last ones held the way that they share: nobody stands in its line.
        ways = list(rig.egress._parts.shared._ways.values())
        assert [len(way.wanting) for way in ways] == [0]


async def test_an_outlet_that_is_dropped_is_freed_without_the_garbage_collector() -> None:
    gc.disable()
    try:
        async with Sink() as sink, Rig(route=to(sink), idle_timeout=0.1) as rig:
            rig.send("a@one.test")
            outlets = weakref.WeakSet(rig.egress._outlets.values())
            assert len(outlets) == 1
            await rig.settle.until(1)
            await eventually(lambda: not rig.egress._outlets)
            await eventually(lambda: not outlets)
    finally:
        gc.enable()
