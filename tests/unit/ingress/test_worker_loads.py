"""The workers of a node that are ahead of the others, by the memory that they share."""

import os

import pytest

from mta.ingress.worker_loads import MISSED_AT_MOST, WorkerLoads, load_slots


def loads_of(*sessions: int | None) -> list[WorkerLoads]:
    memory = bytearray(8 * len(sessions))
    loads = [WorkerLoads(memory, member) for member in range(len(sessions))]
    for member, count in zip(loads, sessions, strict=True):
        if count is not None:
            member.tell(count, 1000)
    return loads


@pytest.mark.parametrize(
    ("sessions", "ahead"),
    [
        ((0, 0), False),
        ((1, 0), False),
        ((2, 0), True),
        ((21, 18), False),
        ((22, 18), True),
        ((18, 22), False),
        ((113, 100), False),
        ((114, 100), True),
        ((22, 30, 18, 25), True),
        ((22, 19, 40), False),
    ],
)
def test_ahead_is_who_has_notably_more_than_any_other(sessions: tuple[int, ...], ahead: bool) -> None:
    assert loads_of(*sessions)[0].is_ahead(full=False) is ahead


def test_who_is_full_is_ahead_of_whoever_has_fewer() -> None:
    assert loads_of(100, 99)[0].is_ahead(full=True)
    assert not loads_of(100, 100)[0].is_ahead(full=True)
    assert not loads_of(100, None)[0].is_ahead(full=True)


def test_who_takes_no_connections_is_not_waited_for() -> None:
    first, second, third = loads_of(9, None, 8)
    assert not first.is_ahead(full=False)
    second.tell(0, 0)
    assert first.is_ahead(full=False)
    assert third.is_ahead(full=False)
    second.leave()
    assert not first.is_ahead(full=False)
    assert first.sessions() == [9, None, 8]
    assert repr(first) == "<WorkerLoads of worker 0: sessions [9, None, 8]>"


def test_who_takes_nothing_that_is_left_to_it_is_passed_over_until_it_does() -> None:
    first, second, third = loads_of(20, 0, 15)
    for taken in range(MISSED_AT_MOST):
        assert first.is_ahead(full=False)
        third.tell(15, taken)  # one comes, and one goes
        first.missed()
    assert first.is_ahead(full=False)  # of the third
    third.tell(18, MISSED_AT_MOST)
    assert not first.is_ahead(full=False)
    second.tell(0, 1001)  # has come and gone
    assert first.is_ahead(full=False)


def test_who_is_passed_over_is_given_another_chance_now_and_then() -> None:
    first, _ = loads_of(20, 0)
    for _ in range(MISSED_AT_MOST + 5):
        first.missed()
    assert not first.is_ahead(full=False)
    first.decay()
    assert first.is_ahead(full=False)
    first.missed()
    assert not first.is_ahead(full=False)


def test_what_is_left_in_vain_counts_in_a_row_only() -> None:
    first, second = loads_of(20, 0)
    for taken in range(2 * MISSED_AT_MOST):
        if taken % 10 == 9:
            second.tell(0, 1000 + taken)
        first.missed()
        assert first.is_ahead(full=False)


def test_alone_nobody_is_ahead() -> None:
    loads = WorkerLoads.alone()
    assert not loads.is_ahead(full=False)
    loads.tell(1000, 1000)
    assert not loads.is_ahead(full=True)


def test_load_slots_of_one_node_are_in_the_same_memory_and_empty_at_first() -> None:
    first, second = load_slots(2)
    try:
        left, right = WorkerLoads.at(first), WorkerLoads.at(second)
        assert left.sessions() == [None, None]
        left.tell(3, 2**32 + 3)
        right.tell(0, 0)
        assert right.sessions() == [3, 0]
        assert left.is_ahead(full=False)
        WorkerLoads.at(second).leave()  # by another process, when that member has died
        assert not left.is_ahead(full=False)
    finally:
        os.close(first.memory)
