"""Turns of shares in a lane: room is theirs in common, and each gets of it what its weight says."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from mta.model.mail import QueueKey, QueueShare
from mta.model.shares import weight_of
from mta.ports.queueing import Due
from mta.scheduling.lane_view import LaneView

A, B = QueueKey("p", "a"), QueueKey("p", "b")
SHARES = ("", "acme", ".1", "acme.2")
DEEP = 1 << 40


def seen(*dues: Due) -> LaneView:
    view = LaneView()
    view.take(dues, 100)
    return view


def claim(view: LaneView, room: int, depths: dict[QueueShare, int], most: int = 100) -> Counter[QueueShare]:
    """The deliveries that one claim takes, of queues that have so many."""
    wants, got = view.wants(5, lambda *_: room, most), Counter[QueueShare]()
    for queue, count, share in wants:
        got[QueueShare(queue, share)] = min(count, depths[QueueShare(queue, share)])
    for of, count in got.items():
        depths[of] -= count
    view.served(wants, got, False)
    return got


def test_shares_of_a_queue_have_its_room_in_common():
    view = seen(Due(A, 1), Due(A, 2, "acme"), Due(B, 1))
    wanted = {(queue, share): count for queue, count, share in view.wants(5, lambda *_: 10, 100)}
    assert wanted[A, ""] + wanted[A, "acme"] == wanted[B, ""] == 10
    assert wanted[A, "acme"] >= 5


def test_a_single_message_is_claimed_with_the_first_room_beside_a_deep_share():
    view = seen(Due(A, 1))
    depths = {QueueShare(A): DEEP, QueueShare(A, ".2"): 1, QueueShare(A, "acme"): 1}
    for _ in range(1000):
        assert claim(view, 1, depths) == {QueueShare(A): 1}
    view.take([Due(A, 1), Due(A, 2, ".2"), Due(A, 3, "acme")], 100)
    claim(view, 2, depths)
    claim(view, 2, depths)
    assert depths[QueueShare(A, ".2")] == depths[QueueShare(A, "acme")] == 0


def test_a_share_that_waits_for_its_time_saves_up_no_turns():
    view = seen(Due(A, 1), Due(A, 1000, "acme"))
    depths = {QueueShare(A): DEEP, QueueShare(A, "acme"): DEEP}
    for _ in range(100):
        claim(view, 50, depths)
    view.take([Due(A, 1), Due(A, 2, "acme")], 100)
    taken = Counter()
    for _ in range(20):
        taken += claim(view, 10, depths)
    # One claim may have been on its way.
    assert 0 <= taken[QueueShare(A, "acme")] - taken[QueueShare(A)] <= 50


@settings(max_examples=40, deadline=None)
@given(st.sets(st.sampled_from(SHARES), min_size=1), st.integers(1, 40), st.integers(1, 3))
def test_no_share_and_no_queue_starves(shares, room, domains):
    queues = [QueueKey("p", f"d{number}") for number in range(domains)]
    view = seen(*(Due(queue, 1, share) for queue in queues for share in sorted(shares)))
    depths = {QueueShare(queue, share): DEEP for queue in queues for share in shares}
    taken = Counter[QueueShare]()
    rounds = 4 * len(shares) * domains * sum(weight_of(share) for share in shares)
    for _ in range(rounds):
        taken += claim(view, room, depths, 10)
    assert set(taken) == set(depths)
    by_share = Counter[str]()
    for (_, share), count in taken.items():
        by_share[share] += count
    assert by_share[""] <= min([*by_share.values()]) + 40 * domains if "" in shares else True
