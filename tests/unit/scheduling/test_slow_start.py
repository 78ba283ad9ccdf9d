import msgspec

from mta.model.mail import QueueKey
from mta.model.outcomes import Origin, Outcome, Reply, Verdict
from mta.model.pools import PoolSettings
from mta.policy.shaping import Shaping
from mta.scheduling.limit_watch import LimitWatch
from mta.scheduling.slow_start import SlowStart
from tests.support.limit_orders import LimitOrders
from tests.support.scheduling import QUEUE, SETTINGS, a_claim

BUSY = Outcome(Verdict.TEMPORARY, Reply(421, "", "too much"), Origin.REMOTE, mta="192.0.2.1", mx="mx.big.test")
TAKEN = Outcome(Verdict.DELIVERED, Reply(250, "", "ok"), Origin.REMOTE, mta="192.0.2.1", mx="mx.big.test")


class Sites:
    def of(self, domain):
        return "big"

    def of_target(self, domain, host):
        return "big"


class Process:
    def __init__(self, place):
        self.open, self.listens, self.tighter = 5, False, []
        pools = {QUEUE.pool: PoolSettings(ips=("192.0.2.1",))}
        self.slow_start = SlowStart(Sites(), "n1", 2, pools, place.orders, lambda: place.now)
        self.slow_start.attach(lambda site, ip: self.open if (site, ip) == ("big", "192.0.2.1") else 0, self.listen)
        self.watch = LimitWatch(
            place.orders, Shaping(SETTINGS), self.tighter.append, lambda: place.now, heard=self.slow_start.take_orders
        )

    def listen(self, wanted):
        self.listens = wanted


class Place:
    def __init__(self):
        self.now, self.orders = 1_000_000, LimitOrders()
        self.processes = [Process(self), Process(self)]

    async def turn(self, ms=0):
        self.now += ms
        for process in self.processes:
            await process.slow_start.tell()
        for process in self.processes:
            await process.watch.look()

    @property
    def limit(self):
        found = [order for order in self.orders.kept.values() if order.until > self.now]
        return found[0].connections if found else None


async def test_one_burst_of_replies_to_two_processes_halves_the_path_once_for_both():
    place = Place()
    for _ in range(5):
        for process in place.processes:
            process.slow_start.failed(a_claim(), BUSY)
    await place.turn()
    assert place.limit == 5, "half of five connections of each"
    assert [process.listens for process in place.processes] == [True, True]
    assert [len(process.tighter) for process in place.processes] == [1, 1]


async def test_success_opens_the_path_again_until_it_is_free():
    place = Place()
    place.processes[0].slow_start.failed(a_claim(), BUSY)
    await place.turn()
    seen = []
    for process in place.processes:
        process.open = 20
    for _ in range(40):
        for process in place.processes:
            for _ in range(10):
                process.slow_start.delivered(a_claim(), TAKEN)
        await place.turn(1000)
        seen.append(place.limit)
    assert seen[:14] == list(range(6, 20)), "one for each second, whichever process opens it"
    assert seen[14:] == [None] * 26
    assert not place.orders.kept
    assert [process.listens for process in place.processes] == [False, False]


async def test_without_a_delivery_the_path_stays_narrow():
    place = Place()
    place.processes[0].slow_start.failed(a_claim(), BUSY)
    await place.turn()
    for _ in range(5):
        await place.turn(1000)
    assert place.limit == 5


async def test_a_refused_connection_halves_and_a_single_one_gives_no_order():
    place = Place()
    one, two = place.processes
    one.open = 1
    one.slow_start.failed(a_claim(), BUSY)
    await place.turn(1000)
    assert not place.orders.kept, "the other process may have none"
    two.slow_start.refused(QueueKey(QUEUE.pool, "d.test"), BUSY.reply, "mx.big.test", "192.0.2.1")
    await place.turn()
    assert place.limit == 5


async def test_processes_with_one_connection_each_halve_them_when_the_replies_go_on():
    place = Place()
    one, two = place.processes
    one.open = two.open = 1
    for _ in range(2):
        for process in place.processes:
            process.slow_start.failed(a_claim(), BUSY)
        await place.turn()
        place.now += 1000
    assert place.limit == 1


async def test_what_floodgate_says_itself_halves_nothing():
    place = Place()
    place.processes[0].slow_start.failed(a_claim(), msgspec.structs.replace(BUSY, origin=Origin.LOCAL))
    await place.turn()
    assert not place.orders.kept
