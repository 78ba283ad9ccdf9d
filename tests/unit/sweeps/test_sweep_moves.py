"""Sweeps of deliveries that an earlier attempt may have brought to their recipient."""

import msgspec
import pytest

from mta.model.endings import Final
from mta.model.events import Event
from mta.model.ids import delivery_id, new_message_id
from mta.model.mail import QueueKey, Record
from mta.model.rules import Head, Kind, Rule, Selectors
from mta.policy.bounded_orders import hold_for
from mta.policy.rule_table import RuleTable
from mta.ports.sweeps import SweepMove, WaitingDelivery
from mta.sweeps.sweep_moves import Decider


@pytest.mark.parametrize(("lost_dot", "reclaims", "doubt"), [(True, 0, True), (False, 1, True), (False, 0, False)])
def test_d11_what_a_sweep_ends_may_have_arrived_before(lost_dot: bool, reclaims: int, doubt: bool) -> None:
    queue, name = QueueKey("p", "x.test"), delivery_id(new_message_id(0, 1), 1)
    record = Record("s@example.net", "u@x.test", ("t",), 10, 1, 1 << 50, attempts=1, uncertain=lost_dot)
    table = RuleTable.build(Head(1, "c"), [Rule("r1", Selectors(tag="t"), 554)], "n1")
    decided = Decider("n1", 600_000, lambda: 5).decide(table, [WaitingDelivery(name, queue, 1, record, reclaims)])
    (match,) = decided[SweepMove.INTERCEPT]
    assert match.uncertain is doubt
    assert msgspec.msgpack.decode(match.event, type=Event).uncertain is doubt
    assert msgspec.msgpack.decode(match.final, type=Final).uncertain is doubt


def test_the_hold_of_an_order_with_a_bound_takes_mail_from_pauses_and_no_pause_takes_it_back() -> None:
    queue, name = QueueKey("p", "x.test"), delivery_id(new_message_id(0, 1), 1)
    record = Record("s@example.net", "u@x.test", ("t",), 10, 1, 1 << 50, held_at=3)
    waiting = [WaitingDelivery(name, queue, 1, record, 0)]
    pause = Rule("p1", Selectors(tag="t", domain="x.test"), kind=Kind.PAUSE)
    hold = hold_for(Rule("h1", Selectors(tag="t"), 554), 10)
    decider = Decider("n1", 600_000, lambda: 5)
    both = RuleTable.build(Head(1, "c"), [pause, hold], "n1")
    ((move, (match,)),) = decider.decide(both, waiting, "p1").items()
    assert (move, match.rule) == (SweepMove.HOLD, "h1")
    assert match.record is not None
    assert match.record.held_at == 3, "it has been held since then"
    assert decider.decide(both, waiting, "h1") == {}
    let_go = RuleTable.build(Head(2, "c"), [pause, msgspec.structs.replace(hold, enabled=False)], "n1")
    ((move, (match,)),) = decider.decide(let_go, waiting, "h1").items()
    assert (move, match.rule) == (SweepMove.HOLD, "p1")
