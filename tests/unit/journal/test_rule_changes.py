from mta.model.events import EventType
from mta.model.rules import Change, ChangeOp, Head, Rule, Selectors
from mta.ports.journal import RuleChange
from tests.support.journal import Bench, Outbox


async def test_a_change_of_rules_is_a_line(tmp_path):
    outbox = Outbox(1)
    rule = Rule("r1", Selectors(tag="x"), 554, "5.7.1", "stop")
    outbox.rule_changes = [RuleChange(Change(Head(3, "c"), ChangeOp.PUT, rule), 9, "admin")]
    bench = Bench(tmp_path, outbox)
    await bench.rounds()
    assert bench.ids == ["rules.3"]
    assert bench.sink.got[0][1].type is EventType.RULE
    await bench.journal.stop()


async def test_a_change_of_rules_tells_what_is_not_as_usual(tmp_path):
    outbox = Outbox(1)
    chosen = Selectors(tags_all=("x", "y"), except_tags=("z",), ip="192.0.2.1")
    rule = Rule("r1", chosen, 554, enabled=False, expires_at=1000)
    outbox.rule_changes = [RuleChange(Change(Head(3, "c"), ChangeOp.PUT, rule), 9, "admin")]
    bench = Bench(tmp_path, outbox)
    await bench.rounds()
    event = bench.sink.got[0][1]
    assert (event.tags, event.remote_ip) == (("x", "y"), "192.0.2.1")
    assert event.properties["except_tags"] == "z"
    assert (event.properties["enabled"], event.properties["expires_at"]) == ("false", "1970-01-01T00:00:01.000Z")
    await bench.journal.stop()
