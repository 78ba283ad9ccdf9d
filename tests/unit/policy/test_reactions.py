import msgspec
import pytest

from mta.model.outcomes import Reply
from mta.model.reactions import EXAMPLE, ReactionSettings
from mta.policy.limit_orders import ordered
from mta.policy.reactions import ReactionBook, faults_of, limit_order, reply_text

BUSY = ReactionSettings(
    name="busy", site="big", code=("421",), text=r"too many|\[TS0[23]\]", action="slow", value="10/m", for_=600.0
)
BLOCKED = ReactionSettings(name="blocked", enhanced="x.7.1", threshold="2/m", for_=60.0)
BOOK = ReactionBook([BUSY, BLOCKED, ReactionSettings(name="off", code=("4xx",), enabled=False)])


@pytest.mark.parametrize(
    ("site", "reply", "names"),
    [
        ("big", Reply(421, "4.7.0", "Too Many of you"), ["busy"]),
        ("big", Reply(421, "4.7.0", "[TS03] deferred"), ["busy"]),
        ("other", Reply(421, "4.7.0", "too many of you"), []),
        ("big", Reply(450, "4.7.0", "too many of you"), []),
        ("other", Reply(550, "5.7.1", "no"), ["blocked"]),
        ("big", Reply(421, "4.7.1", "too many"), ["blocked", "busy"]),
        ("big", Reply(451, "", ""), []),
    ],
)
def test_a_reply_counts_by_site_code_enhanced_code_and_text(site, reply, names):
    assert sorted(reaction.name for reaction in BOOK.find(site, reply)) == names


def test_without_reactions_there_is_nothing_to_ask():
    assert not ReactionBook([ReactionSettings(name="off", code=("4xx",), enabled=False)])
    assert BOOK


def test_an_order_has_the_values_of_its_action_and_the_replies_that_caused_it():
    (busy,) = BOOK.find("big", Reply(421, "", "too many"))
    reply = reply_text(Reply(421, "4.7.0", "too many \x07of you"))
    order = limit_order(busy, "big", "", "192.0.2.1", 1000, [reply, reply, "421 [TS02]"])
    assert (order.messages_per_minute, order.connections, order.closed) == (10.0, 0, False)
    assert (order.since, order.until, order.over_at) == (1000, 601_000, 1_201_000)
    assert (order.by, order.reaction) == ("reaction:busy", "busy")
    assert order.reason == "3 replies within 1h: 421 4.7.0 too many \\u0007of you | 421 [TS02]"


def test_a_reaction_may_bound_the_messages_of_a_connection():
    given = msgspec.structs.replace(EXAMPLE, action="messages_per_connection", value="2")
    assert list(faults_of(given)) == []
    (reaction,) = ReactionBook([given]).find("example", Reply(421, "", "too many connections"))
    order = limit_order(reaction, "example", "", "192.0.2.1", 1000, ["x"])
    assert (order.messages_per_connection, order.connections, order.closed) == (2, 0, False)
    assert ordered(order, order.until).messages_per_connection == 4, "it eases as other limits do"
    assert [fault.field for fault in faults_of(msgspec.structs.replace(given, value="0"))] == ["value"]


def test_of_two_processes_that_react_at_once_one_gives_the_order_and_a_later_reply_renews_it():
    (busy,) = BOOK.find("big", Reply(421, "", "too many"))
    first = limit_order(busy, "big", "p", "", 1000, ["x"])
    assert limit_order(busy, "big", "p", "", 2000, ["x"], first) is None
    again = limit_order(busy, "big", "p", "", 100_000, ["x"], first)
    assert (again.id, again.until) == (first.id, 700_000)
    eased = limit_order(busy, "big", "p", "", first.until + 1, ["x"], first)
    assert eased.since == first.until + 1


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"name": "a b"}, "name"),
        ({"code": ("999",)}, "code"),
        ({"enhanced": "7.1"}, "enhanced"),
        ({"text": "("}, "text"),
        ({"text": "", "code": ()}, "text"),
        ({"threshold": "3"}, "threshold"),
        ({"threshold": "1001/h"}, "threshold"),
        ({"value": "0"}, "value"),
        ({"action": "pause"}, "value"),
        ({"action": "slow", "value": "often"}, "value"),
        ({"action": "slow", "value": "0/s"}, "value"),
        ({"scope": "tag"}, "action"),
    ],
)
def test_a_fault_names_its_key(changes, field):
    given = {name: getattr(EXAMPLE, name) for name in EXAMPLE.__struct_fields__} | changes
    assert field in [fault.field for fault in faults_of(ReactionSettings(**given))]


def test_the_example_has_no_fault():
    assert list(faults_of(EXAMPLE)) == []
