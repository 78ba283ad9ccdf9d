import msgspec
import pytest

from mta.model.errors import StoreAway
from mta.model.mail import QueueKey
from mta.model.outcomes import Origin, Outcome, Reply, Verdict
from mta.model.pools import PoolSettings
from mta.model.reactions import ReactionSettings
from mta.policy.reactions import ReactionBook
from mta.scheduling.reaction_watch import ReactionWatch
from tests.support.limit_orders import LimitOrders
from tests.support.scheduling import QUEUE, a_claim

BY_IP = ReactionSettings(name="r", code=("421",), threshold="3/h", for_=100.0)
BY_TAG = ReactionSettings(name="t", code=("450",), threshold="2/h", scope="tag")
NOW = 1_000_000


class Store:
    """Counts without a window."""

    def __init__(self):
        self.replies, self.wished, self.away = {}, [], False

    async def seen(self, counted, replies, needed, window_ms):
        if self.away:
            raise StoreAway("away")
        found = self.replies.setdefault(counted, [])
        found += replies
        return found[-needed:] if len(found) >= needed else []

    async def acted(self, counted):
        self.replies.pop(counted)

    async def wish(self, wish):
        self.wished.append(wish)


class Sites:
    def of(self, domain):
        return "big"

    def of_target(self, domain, host):
        return "big"


class Audit:
    def __init__(self):
        self.deeds = []

    async def note(self, actor, deed):
        self.deeds.append((actor.author, deed.action))


class Place:
    def __init__(self, pools):
        self.store, self.limits, self.audit = Store(), LimitOrders(), Audit()
        book = ReactionBook([BY_IP, BY_TAG])
        self.watches = [
            ReactionWatch(book, Sites(), pools, "n1", self.store, self.limits, self.audit, lambda: NOW)
            for _ in range(2)
        ]


@pytest.fixture
def place():
    return Place({QUEUE.pool: PoolSettings(ips=("192.0.2.1",))})


def refused(code=421, text="busy"):
    return Outcome(Verdict.TEMPORARY, Reply(code, "4.7.0", text), Origin.REMOTE, mta="192.0.2.1", mx="mx.big.test")


async def test_replies_to_several_processes_make_one_order(place):
    for watch in place.watches:
        watch.failed(a_claim(), refused())
        watch.failed(a_claim(), refused())
    for watch in place.watches:
        await watch.tell()
    (order,) = place.limits.kept.values()
    assert (order.site, order.ip, order.closed, order.until) == ("big", "192.0.2.1", True, NOW + 100_000)
    assert place.audit.deeds == [("reaction:r", "limits.put")]


async def test_one_reply_to_many_deliveries_counts_once(place):
    (watch, _), outcome = place.watches, refused()
    for _ in range(10):
        watch.failed(a_claim(), outcome)
        await watch.tell()
    assert not place.limits.kept
    (replies,) = place.store.replies.values()
    assert replies == ["421 4.7.0 busy"]


async def test_our_own_words_and_other_codes_count_for_nothing(place):
    watch, _ = place.watches
    for _ in range(3):
        watch.failed(a_claim(), msgspec.structs.replace(refused(), origin=Origin.LOCAL))
        watch.failed(a_claim(), refused(452))
    await watch.tell()
    assert not place.store.replies


async def test_refused_connections_count_too_and_the_ip_that_the_system_chooses_is_that_of_the_node():
    place = Place({})
    watch, _ = place.watches
    for _ in range(3):
        watch.refused(QueueKey("p", "d.test"), Reply(421, "", "busy"), "mx.big.test", "127.0.0.1")
    await watch.tell()
    (order,) = place.limits.kept.values()
    assert order.ip == "node:n1"


async def test_a_reaction_of_scope_tag_asks_for_a_pause_of_that_tag_at_the_site(place):
    watch, _ = place.watches
    for _ in range(2):
        watch.failed(a_claim(tags=("red",)), refused(450, "no"))
    watch.failed(a_claim(tags=("blue",)), refused(450, "no"))
    await watch.tell()
    (wish,) = place.store.wished
    assert (wish.reaction, wish.tag, wish.site, wish.tenant) == ("t", "red", "big", "")
    assert "2 replies within 1h: 450 4.7.0 no" in wish.reason


async def test_what_cannot_be_told_is_told_later(place):
    watch, _ = place.watches
    place.store.away = True
    for _ in range(3):
        watch.failed(a_claim(), refused())
    with pytest.raises(StoreAway):
        await watch.tell()
    place.store.away = False
    await watch.tell()
    assert len(place.limits.kept) == 1
