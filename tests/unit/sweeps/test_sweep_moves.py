"""Sweeps of deliveries that an earlier attempt may have brought to their recipient."""

import msgspec
import pytest

from mta.model.endings import Final
from mta.model.events import Event
from mta.model.ids import delivery_id, new_message_id
from mta.model.mail import QueueKey, Record
from mta.model.rules import Head, Rule, Selectors
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
