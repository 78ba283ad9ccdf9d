import json

import msgspec
import pytest

from mta.model.actor import NOBODY, Actor, ActorKind
from mta.model.events import Event, EventType
from mta.model.outcomes import Forced
from mta.model.rule_events import RuleEvent, change_event, completed_event, effective_event
from mta.model.rules import ChangeOp, Effective, Kind, Rule, Selectors
from mta.orders.statement import rule_statement
from mta.ports.orders import Effect
from mta.redis_store.rule_records import change_parts

ADMIN = Actor(ActorKind.TOKEN, "admin", "192.0.2.7", "3f9a")
RULE = Rule("r1", Selectors(tag="x"), 554, "5.7.1", "stop", generation=3, reason="why")


@pytest.mark.parametrize(
    ("op", "before", "change"),
    [
        (ChangeOp.PUT, None, "made"),
        (ChangeOp.PUT, msgspec.structs.replace(RULE, code=421), "edited"),
        (ChangeOp.PUT, msgspec.structs.replace(RULE, enabled=False), "enabled"),
        (ChangeOp.PUT, msgspec.structs.replace(RULE, kind=Kind.PAUSE, code=0), "converted"),
        (ChangeOp.REMOVE, RULE, "removed"),
        (ChangeOp.REGAIN, None, "regain"),
    ],
)
def test_a_change_says_what_it_is_and_who_ordered_it(op, before, change):
    event = change_event(op, RULE, before, ADMIN, 9)
    assert (event.type, event.time, event.actor, event.forced) == (EventType.RULE, 9, "admin (3f9a)", Forced("r1", 3))
    assert (event.code, event.enhanced, event.text, event.tags) == (554, "5.7.1", "stop", ("x",))
    assert event.reason == f"{op} by admin (3f9a): why"
    assert event.client == "192.0.2.7"
    assert event.properties is not None
    said = dict(event.properties)
    rule = json.loads(msgspec.json.encode(msgspec.structs.replace(RULE, generation=0)))
    assert json.loads(said.pop("after", "null")) == (rule if op is ChangeOp.PUT else None)
    old = None if before is None else msgspec.structs.replace(before, generation=0)
    assert json.loads(said.pop("before", "null")) == (None if old is None else json.loads(msgspec.json.encode(old)))
    assert said == {
        "rule": "r1", "op": op.value, "generation": "3", "by": "admin (3f9a)", "change": change, "kind": "error",
        "token": "3f9a",
    }  # fmt: skip


def test_a_change_tells_what_is_not_as_usual():
    chosen = Selectors(tags_all=("x", "y"), except_tags=("z",), ip="192.0.2.1", tenant="t")
    event = change_event(ChangeOp.PUT, Rule("r1", chosen, 554, enabled=False, expires_at=1000), RULE, NOBODY, 9)
    assert (event.tags, event.remote_ip, event.tenant, event.reason) == (("x", "y"), "192.0.2.1", "t", "put")
    assert event.properties is not None
    assert (event.properties["except_tags"], event.properties["change"]) == ("z", "disabled")
    assert (event.properties["enabled"], event.properties["expires_at"]) == ("false", "1970-01-01T00:00:01.000Z")


def test_an_effect_and_a_completed_sweep_are_of_their_generation():
    effect = Effective("r1", 4, 100, ("D.1", "D.2"), ("s1",), ("s2", "s3"))
    event = effective_event(RULE, effect, removed=True)
    assert (event.reason, event.time, event.forced) == ("effective", 100, Forced("r1", 4))
    assert event.properties == {
        "rule": "r1", "op": "effective", "generation": "4", "change": "removed", "past_dot": "2", "confirmed": "1",
        "effective_at": "1970-01-01T00:00:00.100Z", "unconfirmed": "s2 s3",
    }  # fmt: skip
    account = rule_statement(Effect(RULE, False, True, 100, 100, (), 100, (), ()), {}, {}, None, 500)
    event = completed_event(RULE, RULE.generation, account, 7)
    assert (event.reason, event.time, event.forced) == ("completed", 7, Forced("r1", 3))
    assert event.properties is not None
    assert json.loads(event.properties["statement"]) == msgspec.to_builtins(account)


@pytest.mark.parametrize("text", ["stop", "\u00ff\u00fe 18446460386757244408 \ud7ff", ""])
def test_the_generation_is_written_between_the_parts_whatever_people_write(text):
    rule = msgspec.structs.replace(RULE, description=text, reason=text)
    head, middle, tail = change_parts(ChangeOp.PUT, rule, None, ADMIN, 9)
    raw = head + msgspec.msgpack.encode(77) + middle + msgspec.msgpack.encode("77") + tail
    expected = change_event(ChangeOp.PUT, msgspec.structs.replace(rule, generation=77), None, ADMIN, 9)
    assert msgspec.msgpack.decode(raw, type=RuleEvent) == expected
    as_another_build_reads_it = msgspec.msgpack.decode(raw, type=Event)
    assert (as_another_build_reads_it.text, as_another_build_reads_it.forced) == (text, Forced("r1", 77))
