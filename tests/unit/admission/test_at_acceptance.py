"""At acceptance: which messages are refused, which deliveries end at once, and what is left to be decided later."""

import msgspec
import pytest

from mta.admission.at_acceptance import AcceptanceRules
from mta.model.endings import Common, Final
from mta.model.events import Event, EventType
from mta.model.ids import delivery_id, new_message_id
from mta.model.mail import NewMessage, Recipient
from mta.model.outcomes import Class, Forced, Origin, Reply, Stage
from mta.model.rules import AtTheDoor, Head, Kind, Rule, Selectors
from mta.policy.rule_table import RuleTable
from mta.ports.queueing import UNDECIDED, DecidedBy, DeciderKind

NOW = 1_700_000_000_000
REJECT = AtTheDoor.REJECT
R1 = DecidedBy(DeciderKind.RULE, "r1")


class Table:
    """The part of ports.rules.Rules that acceptance uses."""

    def __init__(self, *rules: Rule, node: str = "n1") -> None:
        self.table = RuleTable.build(Head(7, "c"), rules, node, clock=lambda: NOW)
        self.fresh = True

    def is_fresh(self) -> bool:
        return self.fresh


def rule(id_="r1", code=554, tag="red", **more) -> Rule:
    chosen = {name: more.pop(name) for name in Selectors.__struct_fields__ if name in more}
    return Rule(id_, Selectors(tag=tag, **chosen), code, **more)


def mail(*to: str, tags=("red",), tenant="", pool="default") -> NewMessage:
    to = to or ("a@example.com",)
    recipients = tuple(Recipient(address, address.rpartition("@")[2]) for address in to)
    return NewMessage(
        new_message_id(0, NOW), "from@example.org", recipients, pool, tags, b"0123456789", False,
        NOW - 5, NOW + 86400_000, NOW * 2, 0, (), "192.0.2.1", {"k": "v"}, tenant,
    )  # fmt: skip


def terms(tenant: str, suspended: bool = False, **more) -> Rule:
    return Rule("t1", Selectors(tenant=tenant), kind=Kind.TENANT, enabled=suspended, **more)


@pytest.mark.parametrize("other", [(), (rule("r9", tag="else"),)], ids=["alone", "beside-rules"])
def test_a_suspended_tenants_mail_is_refused_and_nobody_elses(other):
    its, free, without = mail(tenant="acme"), mail(tenant="free"), mail()
    decision = ask(Table(terms("acme", True), *other), its, free, without)
    assert (set(decision.rejected), decision.ended) == ({its.id}, {})
    refused = decision.rejected[its.id]
    assert refused.by == DecidedBy(DeciderKind.RULE, "t1")
    assert refused.reply == Reply(550, "5.7.1", "the account is suspended")
    (event,) = events_of(refused.events)
    assert (event.type, event.tenant, event.code) == (EventType.REJECTION, "acme", 550)
    assert event.forced == Forced("t1", 7, Stage.DOOR)
    assert set(ask(Table(terms("acme"), *other), its).rejected) == set()


def test_a_tenants_senders_bind_its_mail_only():
    its, other = mail(tenant="acme"), mail(tenant="free")
    table = Table(terms("acme", senders=("else.test",)))
    decision = ask(table, its, other)
    assert set(decision.rejected) == {its.id}
    assert "MAIL FROM" in decision.rejected[its.id].reply.text
    assert not ask(Table(terms("acme", senders=("example.org",))), its).rejected
    table.fresh = False
    assert ask(table, its) == UNDECIDED, "a table that is not confirmed refuses nothing"


def ask(rules: Table, *messages: NewMessage):
    return AcceptanceRules(rules, "n1", 600.0, clock=lambda: NOW / 1000).decide(messages)


def events_of(raw) -> list[Event]:
    return [msgspec.msgpack.decode(one, type=Event) for one in raw]


def test_a_message_all_of_whose_recipients_are_refused_gets_the_reply_of_the_first():
    hard = rule(at_the_door=REJECT, extended="5.7.9", description="stopped", reason="wrong list", domain="one.test")
    soft = rule("r2", 451, at_the_door=REJECT, domain="two.test")
    refused, other = mail("a@one.test", "b@two.test"), mail(tags=("blue",))
    decision = ask(Table(hard, soft), refused, other)
    assert (decision.generation, decision.ended, set(decision.rejected)) == (7, {}, {refused.id})
    one = decision.rejected[refused.id]
    assert (one.by, one.reply, one.tags) == (R1, Reply(554, "5.7.9", "stopped"), ("red",))
    first, second = events_of(one.events)
    assert (first.type, first.id, first.recipient, first.domain) == (
        EventType.REJECTION, delivery_id(refused.id, 1), "a@one.test", "one.test",
    )  # fmt: skip
    assert (first.time, first.node, first.sender, first.size, first.client) == (
        NOW, "n1", "from@example.org", 10, "192.0.2.1",
    )  # fmt: skip
    assert (first.code, first.enhanced, first.text, first.origin) == (554, "5.7.9", "stopped", Origin.FORCED)
    assert (first.forced, first.reason, first.properties) == (Forced("r1", 7, Stage.DOOR), "wrong list", {"k": "v"})
    assert (second.recipient, second.code, second.forced.rule) == ("b@two.test", 554, "r1")


@pytest.mark.parametrize(("code", "enhanced"), [(550, "5.7.1"), (450, "4.7.1")])
def test_a_reply_has_an_enhanced_code_and_words_though_the_rule_has_none(code, enhanced):
    message = mail()
    reply = ask(Table(rule(code=code, at_the_door=REJECT)), message).rejected[message.id].reply
    assert (reply.code, reply.enhanced) == (code, enhanced)
    assert reply.text


@pytest.mark.parametrize(("undo", "spare_ms"), [(True, 600_000), (False, 0)])
def test_what_is_accepted_and_matches_a_rule_that_ends_mail_is_intercepted(undo, spare_ms):
    message = mail("a@example.com", "b@free.test", "c@example.com")
    decision = ask(Table(rule(domain="example.com", extended="5.1.0", description="no", undo=undo)), message)
    assert decision.rejected == {}
    first, third = decision.ended[message.id]
    assert [(one.number, one.ended, one.by, one.spare_ms) for one in (first, third)] == [
        (1, Class.INTERCEPTED, R1, spare_ms),
        (3, Class.INTERCEPTED, R1, spare_ms),
    ]
    reply = Reply(554, "5.1.0", "no")
    assert msgspec.msgpack.decode(third.final, type=Final) == Final(
        "c@example.com",
        NOW,
        3,
        common=Common("from@example.org", ("red",), "default", forced=Forced("r1", 7, Stage.DOOR), reply=reply),
        properties={"k": "v"},
        seq=2,
    )
    (event,) = events_of([third.event])
    assert (event.type, event.id, event.recipient) == (
        EventType.INTERCEPTED,
        delivery_id(message.id, 3),
        "c@example.com",
    )
    assert (event.code, event.forced, event.queued_at) == (554, Forced("r1", 7, Stage.DOOR), NOW - 5)


def test_where_one_recipient_may_pass_the_message_is_not_refused():
    hard, soft = rule(at_the_door=REJECT, domain="one.test"), rule("r2", 451, at_the_door=REJECT, domain="two.test")
    message = mail("c@three.test", "b@two.test", "a@one.test")
    decision = ask(Table(hard, soft), message)
    assert decision.rejected == {}
    assert [(one.number, one.by) for one in decision.ended[message.id]] == [(3, R1)]


@pytest.mark.parametrize(
    "left",
    [
        rule(code=451),
        rule(code=0, kind=Kind.PAUSE),
        rule(code=0, kind=Kind.PAUSE, at_the_door=REJECT),
        rule(mta="192.0.2.9"),
        rule(mta="192.0.2.9", at_the_door=REJECT),
        rule(ip="192.0.2.9"),
        rule(mx="mx.example.com", at_the_door=REJECT),
        rule(cluster=False, node="n2", at_the_door=REJECT),
        rule(enabled=False),
        rule(expires_at=NOW),
        rule(except_tags=("vip",)),
        rule(tag=None, tags_all=("red", "blue"), at_the_door=REJECT),
    ],
    ids=str,
)
def test_what_is_decided_later_or_never_passes_the_door(left):
    decision = ask(Table(left), mail(tags=("red", "vip")))
    assert (decision.generation, decision.ended, decision.rejected) == (7, {}, {})


def test_the_winning_rule_decides():
    """A pause that is weaker than a rule that ends mail does not save it; a deferral that would refuse is held."""
    message = mail()
    pause = rule("p", 0, kind=Kind.PAUSE, domain="example.com")
    assert set(ask(Table(pause, rule(tag="red")), message).ended) == {message.id}
    assert ask(Table(pause, rule(code=451, at_the_door=REJECT)), message).rejected == {}


def test_mail_to_discard_is_never_refused():
    message = mail()
    decision = ask(Table(rule(code=250, at_the_door=REJECT)), message)
    assert decision.rejected == {}
    assert len(decision.ended[message.id]) == 1


def test_a_rule_of_this_node_and_one_of_a_pool_act_here():
    message, other = mail(pool="gold"), mail(pool="default")
    bound = rule(tag=None, pool="gold", cluster=False, node="n1", at_the_door=REJECT)
    assert set(ask(Table(bound), message, other).rejected) == {message.id}


def test_the_tenant_is_one_more_label_and_is_named():
    ours, other = mail(tenant="acme"), mail(tenant="else")
    decision = ask(Table(rule(tag=None, tenant="acme", at_the_door=REJECT)), ours, other)
    assert set(decision.rejected) == {ours.id}
    (event,) = events_of(decision.rejected[ours.id].events)
    assert (event.tenant, event.tags) == ("acme", ("red",))


def test_a_stale_table_decides_nothing():
    rules = Table(rule(at_the_door=REJECT))
    rules.fresh = False
    assert ask(rules, mail()) is UNDECIDED


def test_an_empty_table_says_which_it_is():
    assert ask(Table(), mail()) == (7, {}, {})
