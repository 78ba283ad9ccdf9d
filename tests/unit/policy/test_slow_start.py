import pytest

from mta.model.outcomes import Reply
from mta.model.phases import Phase
from mta.model.replies import Fault, Known, Reaction
from mta.policy.limit_orders import in_force
from mta.policy.replies import ReplyBook, merged
from mta.policy.slow_start import QUIET_MS, ROUND_MS, fallen, halved, is_full_round, is_rate_reply, opened
from mta.settings_file.shipped_replies import shipped_replies

NOW = 1_000_000
BOOK = ReplyBook(merged(shipped_replies()))


def half(there, was=None, now=NOW):
    return halved("big", "192.0.2.1", there, "421 busy", now, was)


@pytest.mark.parametrize(
    ("reply", "counts"),
    [
        (Reply(421, "4.7.28", "Gmail has detected an unusual rate of mail originating from your IP Netblock"), True),
        (Reply(451, "4.7.650", "The mail server has been temporarily rate limited due to IP reputation."), True),
        (Reply(421, "", "what nobody has ever said"), True),
        (Reply(451, "", "what nobody has ever said"), False),
        (Reply(421, "", "Max message per connection reached, closing transmission channel"), False),
        (Reply(450, "4.2.1", "The user you are trying to contact is receiving mail too quickly."), False),
        (Reply(451, "4.7.1", "Greylisted, please try again in 300 seconds"), False),
        (Reply(550, "5.1.1", "User unknown"), False),
    ],
)
def test_only_replies_about_the_rate_of_all_mail_halve(reply, counts):
    assert is_rate_reply(reply, BOOK.find(Phase.MAIL, reply)) is counts


def test_a_451_that_limits_a_rate_counts_only_where_it_asks_to_slow_down():
    known = Known("rate_limited", Fault.OURS, Reaction.SLOW_DOWN)
    assert is_rate_reply(Reply(451, "", ""), known)
    assert not is_rate_reply(Reply(451, "", ""), known._replace(reaction=Reaction.RETRY))


def test_a_rate_reply_halves_the_connections_and_success_opens_them_one_by_one():
    order = half(8)
    assert (order.connections, order.site, order.ip, order.reason) == (
        4,
        "big",
        "192.0.2.1",
        "at 8 connections: 421 busy",
    )
    (limit,) = in_force({order.id: order}, NOW)["big"]["ip:192.0.2.1"]
    assert limit.connections == 4
    seen, now = [], NOW
    while order is not None:
        now += ROUND_MS
        order = opened(order, now)
        seen += [order.connections] if order is not None else []
    assert seen == list(range(5, 16)), "it is over at twice of the connections that were too many"


def test_replies_of_one_burst_halve_once_and_those_of_the_next_second_again():
    order = half(8)
    assert half(8, order, NOW + ROUND_MS - 1) is None
    again = half(8, order, NOW + ROUND_MS)
    assert (again.connections, again.opens_to, again.since) == (2, 16, NOW)
    assert half(3, again, NOW + 2 * ROUND_MS).connections == 1
    assert half(1, again, NOW + 2 * ROUND_MS).connections == 1, "one connection was too many for the host"


def test_one_connection_is_not_halved():
    assert half(1) is None
    lowest = half(2)
    assert lowest.connections == 1
    assert half(5, lowest, NOW + ROUND_MS) is None


def test_a_path_without_a_change_for_long_is_as_new():
    order = half(8)
    assert in_force({order.id: order}, NOW + QUIET_MS) == {}
    assert half(8, order, NOW + QUIET_MS).connections == 4


def test_a_round_is_full_when_each_connection_of_a_process_could_have_delivered_one():
    order = half(8)
    assert is_full_round(order, 2, 2, 2, NOW + ROUND_MS)
    assert not is_full_round(order, 1, 2, 2, NOW + ROUND_MS)
    assert not is_full_round(order, 100, 100, 2, NOW + ROUND_MS - 1)
    assert not is_full_round(order, 100, 1, 2, NOW + ROUND_MS), "it does not use what it has"


def site_that_accepts(most, seconds, there=8):
    """The limits, by seconds, of a path to a site that refuses connections beyond `most`, and the refusals."""
    order, seen, refusals = fallen("big", "192.0.2.1", there, "421 busy", NOW, None), [], 0
    for second in range(1, seconds):
        now = NOW + second * ROUND_MS
        if is_full_round(order, 1000, min(most, order.connections), 1, now):
            order = opened(order, now)
            if order is None:
                return None, refusals
        if order.connections > most:
            refusals += 1
            order = fallen("big", "192.0.2.1", most, "421 busy", now + 10, order) or order
        seen.append(order.connections)
    return seen, refusals


@pytest.mark.parametrize("most", [1, 3, 4, 6])
def test_a_path_settles_at_what_the_site_accepts_and_tries_one_more_ever_more_seldom(most):
    seen, refusals = site_that_accepts(most, 600)
    assert seen is not None, "it does not open while the site refuses"
    assert set(seen[20:]) <= {max(1, most - 1), most}
    assert seen[100:].count(most) > 450
    assert refusals <= 20


def test_a_path_falls_until_connections_are_accepted():
    seen, _ = site_that_accepts(2, 60, there=64)
    assert seen[:4] == [16, 8, 4, 2]
    assert seen[-1] == 2


def test_a_refusal_just_after_an_opening_takes_it_back():
    order = opened(half(8), NOW + ROUND_MS)
    assert order.connections == 5
    back = fallen("big", "192.0.2.1", 0, "421 busy", NOW + ROUND_MS + 10, order)
    assert (back.connections, back.opens_every_ms) == (4, 2 * ROUND_MS)
    assert fallen("big", "192.0.2.1", 0, "421 busy", NOW + ROUND_MS + 20, back) is None, "of the same burst"
    assert half(0, opened(half(8), NOW + ROUND_MS), NOW + ROUND_MS + 10) is not None
