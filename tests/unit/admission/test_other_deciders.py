"""The deciders beside the rules: whom they are asked about, and the deliveries, events and statuses that come of it."""

import msgspec

from mta.admission.other_deciders import NOTHING_DECIDED, OtherDeciders, OthersDecision, joined
from mta.model.endings import FilteredFinal
from mta.model.events import EventType, OrderedEvent
from mta.model.outcomes import Class, Origin, Reply
from mta.model.status import Reason, Standing, Status, standing_of
from mta.ports.admission import Ending
from mta.ports.queueing import UNDECIDED, AcceptanceDecision, DecidedBy, DeciderKind, EndedAtAcceptance, Rejected
from tests.unit.admission.test_at_acceptance import NOW, R1, mail

BY = DecidedBy(DeciderKind.SUPPRESSION, "s1")


class Scripted:
    """A decider that ends the same recipients of each message, and notes about which it was asked."""

    def __init__(self, *ends: Ending, is_on: bool = True) -> None:
        self.ends = ends
        self.is_on = is_on
        self.asked: list[list[int]] = []

    async def decide(self, mail):
        self.asked += [list(one.numbers) for one in mail]
        return {one.message.id: [end for end in self.ends if end.number in one.numbers] for one in mail}


def others(*deciders: Scripted) -> OtherDeciders:
    return OtherDeciders(deciders, "n1", clock=lambda: NOW / 1000)


def by_rule(number: int) -> EndedAtAcceptance:
    return EndedAtAcceptance(number, Class.INTERCEPTED, R1, b"", b"", 0)


async def test_each_is_asked_about_the_deliveries_that_nobody_before_it_ended():
    message, refused = mail("a@x.test", "b@x.test", "c@x.test"), mail()
    first, second = Scripted(Ending(2, Class.FILTERED, BY, "manual")), Scripted()
    rules = AcceptanceDecision(7, {message.id: [by_rule(1)]}, {refused.id: Rejected(R1, Reply(554), (), ())})
    found = await others(first, Scripted(is_on=False), second).decide([message, refused], rules)
    assert (first.asked, second.asked) == ([[2, 3]], [[3]])
    assert [one.number for one in found.ended[message.id]] == [2]


async def test_a_filtered_delivery_says_by_what_in_its_event_and_in_its_status():
    message = mail("a@x.test", "b@x.test", tenant="acme")
    found = await others(Scripted(Ending(2, Class.FILTERED, BY, "unsubscribe", "news"))).decide([message], UNDECIDED)
    (one,) = found.ended[message.id]
    assert (one.ended, one.by, one.spare_ms) == (Class.FILTERED, BY, 0)
    event = msgspec.msgpack.decode(one.event, type=OrderedEvent)
    assert (event.type, event.recipient, event.reason, event.topic) == (
        EventType.FILTERED, "b@x.test", "unsubscribe", "news",
    )  # fmt: skip
    assert (event.tenant, event.seq, event.origin, event.queued_at) == ("acme", 2, Origin.LOCAL, NOW - 5)
    assert standing_of(event) == Standing(Status.FILTERED, Reason.UNSUBSCRIBE)
    final = msgspec.msgpack.decode(one.final, type=FilteredFinal)
    assert (final.recipient, final.recipients, final.suppressed, final.seq) == (
        "b@x.test", 2, ("unsubscribe", "news"), 2,
    )  # fmt: skip


async def test_a_throttled_end_has_its_own_event():
    message = mail("a@x.test", "b@x.test")
    found = (await others(Scripted(Ending(2, Class.THROTTLED, BY))).decide([message], UNDECIDED)).ended[message.id]
    events = [msgspec.msgpack.decode(one.event, type=OrderedEvent) for one in found]
    assert [standing_of(one).status for one in events] == [Status.THROTTLED]
    assert [msgspec.msgpack.decode(one.final, type=FilteredFinal).suppressed for one in found] == [None]


def test_rules_that_decide_anew_win_over_the_others():
    message, refused = mail("a@x.test", "b@x.test"), mail()
    ended = {id_: [by_rule(1)._replace(ended=Class.FILTERED, by=BY)] for id_ in (message.id, refused.id)}
    rules = AcceptanceDecision(8, {message.id: [by_rule(1)]}, {refused.id: Rejected(R1, Reply(554), (), ())})
    both = joined(rules, OthersDecision(ended, {}))
    assert both.ended == {message.id: [by_rule(1)]}
    assert joined(UNDECIDED, OthersDecision(ended, {})).ended == ended
    assert joined(rules, NOTHING_DECIDED) is rules


async def test_without_a_decider_that_is_on_nobody_asks():
    assert not others().are_on
    assert not others(Scripted(is_on=False)).are_on
    assert others(Scripted()).are_on
