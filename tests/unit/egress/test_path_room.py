"""The room of a path: as many connections as the site accepts, and one more now and then, over a node's workers."""

import asyncio
import random

import pytest

from mta.egress.open_paths import OpenPaths
from mta.egress.path_room import AT_FIRST, LONGEST_WAIT, TOGETHER, PathRoom, PathShare
from mta.egress.shared_marks import SharedMarks
from mta.egress.targets import Target

HOST = Target("mx1.big.test", "192.0.2.1", 25)
IP = "203.0.113.1"


class Node:
    """Workers of one node, and a site that accepts so many connections at once."""

    def __init__(self, workers: int = 1, allows: int = 4) -> None:
        self.now, self.allows, self.open, self.refused, self.tries = 1000.0, allows, 0, 0, 0
        marks = SharedMarks.alone()
        self.workers = [
            PathRoom(OpenPaths(marks, lambda: self.now, number), lambda: self.now) for number in range(workers)
        ]
        self.shares: list[list[PathShare]] = [[] for _ in range(workers)]

    def connect(self, worker: int = 0) -> float | None:
        """One connection. None: it is open; else the wait that the worker was told."""
        room = self.workers[worker]
        share = room.take("big", IP)
        if not isinstance(share, PathShare):
            return share
        if wait := room.begin(share, HOST):
            room.give(share)
            return wait
        self.tries += 1
        room.end(share, HOST)
        if self.open < self.allows:
            self.open += 1
            room.opened(share)
            self.shares[worker].append(share)
            return None
        self.refused += 1
        wait = room.refused(share)
        room.give(share)
        return wait

    def close(self, worker: int = 0) -> None:
        self.open -= 1
        self.workers[worker].give(self.shares[worker].pop())

    def wait(self, seconds: float) -> None:
        self.now += seconds
        for room in self.workers:
            room.tick()


def test_a_refusal_beside_open_connections_ends_the_tries_and_each_one_doubles_the_wait() -> None:
    node = Node()
    assert [node.connect() for _ in range(4)] == [None] * 4
    waits = []
    for _ in range(8):
        wait = node.connect()
        assert wait is not None
        waits.append(wait)
        assert [node.connect() for _ in range(100)] == [wait] * 100, "asking is no try"
        node.wait(wait)
    assert waits == [1, 2, 4, 8, 16, 32, LONGEST_WAIT, LONGEST_WAIT]
    assert node.refused == 8


def test_a_connection_that_is_closed_may_be_opened_again_at_once() -> None:
    node = Node()
    for _ in range(5):
        node.connect()
    for _ in range(50):
        node.close()
        assert node.connect() is None
    assert node.refused == 1


def test_a_site_that_allows_more_again_gets_one_more_each_second() -> None:
    node = Node()
    for _ in range(5):
        node.connect()
    node.allows = 8
    opened = []
    for _ in range(6):
        node.wait(1.0)
        opened += [sum(node.connect() is None for _ in range(10))]
    assert opened == [1, 1, 1, 1, 0, 0]
    assert node.open == 8


@pytest.mark.parametrize("seed", range(5))
def test_workers_of_a_node_together_try_a_small_part_of_what_their_mail_asks_for(seed: int) -> None:
    node, chance = Node(workers=3), random.Random(seed)
    carried = 0
    for _ in range(6000):
        worker = chance.randrange(3)
        node.connect(worker)
        if node.shares[worker] and chance.random() < 0.05:
            node.close(worker)
        carried += node.open
        node.wait(0.01)
    assert node.refused <= 40, "in a minute; 6,000 times one was wanted"
    assert carried >= 6000 * 2.5, "of the four that the site allows"


def test_where_no_worker_has_a_connection_a_refusal_is_an_ordinary_failure() -> None:
    node = Node(allows=0)
    assert [node.connect() for _ in range(10)] == [0.0] * 10
    assert not node.workers[0].is_narrow("big")


def test_a_worker_knows_of_the_connections_of_another_one_while_they_are_open() -> None:
    node = Node(workers=2, allows=1)
    node.connect(0)
    assert node.connect(1) == 1.0
    assert node.workers[1].is_narrow("big")
    for _ in range(20):
        node.wait(1.0)
    assert node.connect(1) == 2.0
    node.shares[0].clear()
    node.workers[0] = PathRoom(OpenPaths.alone())  # the worker died, the site is slow to see it
    for _ in range(20):
        node.wait(1.0)
    assert node.connect(1) == 0.0
    assert not node.workers[1].is_narrow("big")


def test_other_ips_and_other_sites_have_room_of_their_own() -> None:
    node = Node(allows=1)
    for _ in range(3):
        node.connect()
    room = node.workers[0]
    assert isinstance(room.take("big", IP), float)
    assert isinstance(room.take("big", "203.0.113.2"), PathShare)
    assert isinstance(room.take("small", IP), PathShare)
    assert (room.is_narrow("big"), room.is_narrow("small")) == (True, False)


def test_an_address_without_a_connection_gets_a_few_tries_at_a_time() -> None:
    now = 1000.0
    room = PathRoom(OpenPaths.alone(), lambda: now)
    shares = [room.take("big", IP) for _ in range(20)]
    begun = [share for share in shares if isinstance(share, PathShare) and room.begin(share, HOST) == 0.0]
    assert len(begun) == AT_FIRST
    other = shares[-1]
    assert isinstance(other, PathShare)
    assert room.begin(other, HOST._replace(ip="192.0.2.2")) == 0.0
    room.end(begun[0], HOST)
    room.opened(begun[0])
    assert room.begin(other, HOST) == 0.0
    assert room.begin(other, HOST) == TOGETHER
    now += TOGETHER
    assert [room.begin(other, HOST) == 0.0 for _ in range(6)] == [True] * 5 + [False], "those before are silent"


async def test_a_connection_that_waits_for_its_turn_has_it_when_another_one_is_open_or_failed() -> None:
    room = PathRoom(OpenPaths.alone())
    shares = [share for _ in range(6) if isinstance(share := room.take("big", IP), PathShare)]
    *begun, other = shares
    assert [room.begin(share, HOST) for share in begun] == [0.0] * 5
    turn = asyncio.create_task(room.wait_for_end(other, HOST, 60.0))
    await asyncio.sleep(0)
    room.end(begun[0], HOST)
    await asyncio.wait_for(turn, 30.0)
    assert room.begin(other, HOST) == 0.0
    await room.wait_for_end(other, HOST, 0.01)
    assert room.begin(other, HOST) > 0.0, "none has ended"


def test_one_more_is_tried_at_a_time() -> None:
    node = Node()
    for _ in range(5):
        node.connect()
    node.wait(1.0)
    room = node.workers[0]
    first = room.take("big", IP)
    assert isinstance(first, PathShare)
    assert isinstance(room.take("big", IP), float)
    room.give(first)
    assert isinstance(room.take("big", IP), PathShare)


def test_a_refusal_is_forgotten_after_ten_minutes() -> None:
    node = Node(allows=1)
    for _ in range(2):
        node.connect()
    node.wait(599.0)
    assert node.workers[0].is_narrow("big")
    node.wait(2.0)
    assert not node.workers[0].is_narrow("big")
