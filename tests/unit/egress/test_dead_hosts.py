"""Dead hosts: C-103, one worker and several that share the memory of a node."""

import mmap

from mta.egress.dead_hosts import ANY_SOURCE, DeadHosts
from mta.egress.shared_marks import SharedMarks, egress_memory
from mta.egress.targets import Target
from mta.model.mail import QueueKey
from mta.model.outcomes import Verdict
from mta.model.phases import Phase
from mta.policy.failures import Trouble, broken
from tests.support.egress_rig import Rig
from tests.support.valkey import free_port

TARGET = Target("mx1.test", "192.0.2.1", 25)
TROUBLE = broken(Phase.CONNECT, "no answer", "mx1.test", "192.0.2.1")
KNOWN = TROUBLE._replace(untried=True)
EMPTY = bytes(8 * 4096)


class Node:
    """Two workers of a node at one time."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now
        memory = mmap.mmap(egress_memory(), len(EMPTY))
        self.memory = memory
        self.one, self.other = (DeadHosts(SharedMarks(memory), lambda: self.now) for _ in range(2))


def of(dead: DeadHosts, target: Target = TARGET, source: str = ANY_SOURCE) -> Trouble | None:
    return dead.trouble_of(target, source)


def test_an_address_is_left_alone_until_its_time_is_over_whatever_name_led_there() -> None:
    node = Node()
    node.one.add(TARGET, ANY_SOURCE, TROUBLE, 5.0)
    node.now += 4.99
    assert of(node.one) == KNOWN
    assert of(node.one, TARGET._replace(host="mx2.test")) == KNOWN._replace(host="mx2.test")
    assert of(node.one, TARGET._replace(port=26)) is None
    node.now += 0.02
    assert of(node.one) is None


def test_c103_the_other_workers_of_a_node_know_it_for_the_same_time() -> None:
    for now in (1000.0, 2**32 / 1000 - 1):  # the number in the memory begins again in between
        node = Node(now)
        node.one.add(TARGET, ANY_SOURCE, TROUBLE, 5.0)
        told = of(node.other, TARGET._replace(host="mx2.test"))
        assert told is not None
        assert (told.host, told.ip, told.reply.enhanced, told.untried) == ("mx2.test", "192.0.2.1", "4.4.1", True)
        assert of(node.other, TARGET._replace(ip="192.0.2.2")) is None
        node.now += 4.9
        assert of(node.other) is not None
        node.now += 0.2
        assert of(node.other) is None


def test_c103_a_failure_from_a_sending_ip_is_known_for_that_ip_alone() -> None:
    node = Node()
    node.one.add(TARGET, "192.0.2.8", TROUBLE, 5.0)
    for worker in (node.one, node.other):
        assert of(worker, source="192.0.2.8") is not None
        assert of(worker, source="192.0.2.9") is None
        assert of(worker) is None


def test_c103_two_addresses_of_one_slot_do_not_answer_for_each_other() -> None:
    node = Node()
    node.one.add(TARGET, ANY_SOURCE, TROUBLE, 5.0)
    numbers = memoryview(node.memory).cast("Q")
    (at,) = (place for place in range(len(numbers)) if numbers[place])
    numbers[at] ^= 1 << 40  # as another address would have written it
    assert of(node.other) is None
    numbers.release()


def test_only_addresses_whose_time_is_over_are_forgotten() -> None:
    node = Node()
    node.one.add(TARGET, ANY_SOURCE, TROUBLE, 5.0)
    node.one.add(TARGET._replace(ip="192.0.2.2"), ANY_SOURCE, TROUBLE, 20.0)
    node.now += 6
    node.one.forget_expired()
    node.now -= 6
    assert of(node.one) != KNOWN, "only the memory of the node has it"
    assert of(node.one, TARGET._replace(ip="192.0.2.2")) == KNOWN


def test_an_order_to_retry_makes_every_worker_try_again() -> None:
    node = Node()
    node.one.add(TARGET, ANY_SOURCE, TROUBLE, 5.0)
    node.other.forget_all()
    assert of(node.other) is None
    assert node.memory[:] == EMPTY
    node.one.forget_all()  # it hears the order, too
    assert of(node.one) is None


async def test_c103_only_a_delivery_that_a_connection_was_tried_for_counts_an_attempt() -> None:
    async with Rig(route=f"127.0.0.1:{free_port()}") as rig:
        for number, address in enumerate(("a@one.test", "b@two.test", "c@one.test"), 1):
            rig.send(address)  # of another queue, and in the back-off of the first
            await rig.settle.until(number)
        assert [outcome.untried for _, outcome in rig.settle.outcomes] == [False, True, True]
        assert {outcome.verdict for _, outcome in rig.settle.outcomes} == {Verdict.TEMPORARY}
        rig.egress.retry_now(QueueKey("default", "one.test"))
        for number, address in enumerate(("d@one.test", "e@two.test"), 4):
            rig.send(address)
            await rig.settle.until(number)
        assert [outcome.untried for _, outcome in rig.settle.outcomes[3:]] == [False, True]
