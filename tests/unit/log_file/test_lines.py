import json

from hypothesis import given
from hypothesis import strategies as st

from mta.log_file.lines import log_lines
from mta.model.events import Event, EventType
from mta.model.outcomes import Forced, Origin, Stage
from mta.model.rule_events import RuleEvent
from tests.support.log_keys import KEYS
from tests.support.scheduling import a_claim


def log_line(event_id, event):
    line = log_lines([(event_id, event)])
    assert line.endswith(b"\n")
    return line[:-1]


def test_keys_come_in_the_contracts_order_and_absent_when_unknown():
    event = RuleEvent(
        EventType.INTERCEPTED, 1_800_000_000_123, a_claim().id, "n", ("t",), "p", "192.0.2.1", "", "b@x", "x", 2, "mx",
        "192.0.2.2", "TLSv1.3", 554, "5.7.1", "stop", Origin.FORCED, "policy", "why",
        Forced("r", 3, Stage.QUEUED), 10, 1, 2, 0, "192.0.2.3", {"k": "v"}, "acme", "mx", ("S: 554 no",), "ours", "",
        True, 3, "admin",
    )  # fmt: skip
    line = json.loads(log_line("0.1-0.0", event))
    assert list(line) == [key for key in KEYS if key not in ("sent_at", "delivered_at", "topic")]
    assert (line["node"], line["tenant"], line["tags"]) == ("n", "acme", ["t"])
    assert (line["time"], line["sender"], line["forced"]["stage"]) == ("2027-01-15T08:00:00.123Z", "", "queued")
    about_a_rule = Event(EventType.RULE, 1, forced=Forced("r", 3))
    assert json.loads(log_line("g", about_a_rule))["forced"] == {"rule": "r", "generation": 3}
    assert list(json.loads(log_line("g", Event(EventType.GAP, 1)))) == ["v", "time", "event", "type"]


def test_d14_a_line_says_why_there_was_no_tls() -> None:
    clear = Event(EventType.DELIVERY, 1, tls_failed="bad record")
    assert json.loads(log_line("e", clear))["tls"] == {"offered": True, "failed": "bad record"}
    absent = Event(EventType.TRANSIENT_FAILURE, 1, tls_failed="the server does not offer STARTTLS")
    assert json.loads(log_line("e", absent))["tls"]["offered"] is False


def test_a_line_says_when_a_relay_took_the_mail_or_the_recipients_own_host() -> None:
    def times(kind: EventType, code: int, route: str) -> list[str]:
        line = json.loads(log_line("e", Event(kind, 1_800_000_000_123, code=code, route=route)))
        return [key for key in ("sent_at", "delivered_at") if line.get(key) == "2027-01-15T08:00:00.123Z"]

    assert times(EventType.DELIVERY, 250, "relay:out") == ["sent_at"]
    assert times(EventType.DELIVERY, 250, "mx") == ["delivered_at"]
    assert times(EventType.LATE_OUTCOME, 250, "10.0.0.1:25") == ["sent_at"]
    assert times(EventType.LATE_OUTCOME, 450, "relay:out") == times(EventType.BOUNCE, 550, "relay:out") == []


def test_lines_made_together_are_the_lines_made_one_by_one():
    texts = ("plain", "caf\u00e9", 'a "quoted" \\ word', "\x7f", "one\ntwo\u2028three\r", "plain", "\ud800")
    events = [(str(n), Event(EventType.BOUNCE, n, text=text)) for n, text in enumerate(texts)]
    for count in range(len(events) + 1):  # the last is no text that UTF-8 has
        assert log_lines(events[:count]).splitlines() == [log_line(*item) for item in events[:count]]


@given(st.text(), st.text(), st.dictionaries(st.text(), st.text(), max_size=2))
def test_one_event_is_one_printable_line(text, tag, properties):
    line = log_line("e", Event(EventType.BOUNCE, 1, text=text, tags=(tag,), properties=properties)).decode()
    assert line.isprintable()
    json.loads(line)


def test_properties_that_are_empty_are_left_out():
    assert "properties" not in json.loads(log_line("e", Event(EventType.BOUNCE, 1, properties={})))
