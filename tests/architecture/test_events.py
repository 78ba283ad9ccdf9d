"""The fields of an event stand once: in `model/events.py`; the makers and the log must agree with it."""

import ast

import msgspec
import pytest

from mta.log_file.lines import _Line
from mta.model.events import Event, EventType, delivery_event, recipient_event
from mta.model.ids import DeliveryId, MessageId
from mta.model.mail import NewMessage, QueueKey, Recipient, Record
from mta.model.outcomes import Forced, Origin, Outcome, Reply, Stage, Verdict
from mta.model.replies import Fault, Known
from tests.support.sources import Source, sources

# Of a whole lane or of the rule table, where there is no delivery to tell of.
OTHER_MAKERS = {"mta.journal", "mta.model.entry_events", "mta.model.rule_events", "mta.runtime.store_identity"}
NOT_IN_THE_LINE = {"dialogue", "tls_failed"}  # the line has the failure in `tls`
# The actor and the topic are those of OrderedEvent; the times are that of the event.
OF_THE_LINE = {"v", "event", "message_id", "actor", "topic", "sent_at", "delivered_at"}

REPLY, FORCED = Reply(554, "5.7.1", "no"), Forced("r1", 7, Stage.ATTEMPT)
OUTCOME = Outcome(
    Verdict.INTERCEPTED, REPLY, Origin.FORCED, "192.0.2.1", "mx.test", "192.0.2.9", "TLSv1.3", 12, FORCED, "why",
    dialogue=("C: DATA", "S: 554 no"), known=Known("policy", Fault.PEER), route="mx",
    tls_failed="no TLS",
)  # fmt: skip
ID = DeliveryId(b"m" * 16 + b"\0\1")
TOLD = {
    "type": EventType.INTERCEPTED, "time": 5, "id": ID, "node": "n1", "tags": ("a",), "pool": "p",
    "sender": "from@x.test", "recipient": "to@y.test", "domain": "y.test", "code": 554, "enhanced": "5.7.1",
    "text": "no", "origin": Origin.FORCED, "reason": "why", "forced": FORCED, "size": 3, "queued_at": 4,
    "next_attempt": 6, "client": "192.0.2.7", "properties": {"k": "v"}, "tenant": "t", "seq": 7,
}  # fmt: skip
OF_AN_ATTEMPT = {
    "mta": "192.0.2.1", "attempt": 2, "mx": "mx.test", "remote_ip": "192.0.2.9", "tls": "TLSv1.3", "duration_ms": 12,
    "route": "mx", "dialogue": ("C: DATA", "S: 554 no"), "tls_failed": "no TLS",
    "uncertain": True, "category": "policy", "fault": "peer",
}  # fmt: skip


def test_each_field_that_a_delivery_has_arrives_in_its_place() -> None:
    record = Record(
        "from@x.test", "to@y.test", ("a",), 3, 4, 9, attempts=1, client="192.0.2.7", properties={"k": "v"}, tenant="t",
        seq=6,
    )  # fmt: skip
    queue = QueueKey("p", "y.test")
    event = delivery_event(
        EventType.INTERCEPTED, 5, "n1", ID, queue, record, OUTCOME, 2, next_attempt=6, uncertain=True
    )
    assert msgspec.structs.asdict(event) == TOLD | OF_AN_ATTEMPT
    said = delivery_event(EventType.PARKED, 5, "n1", ID, queue, record, OUTCOME, 2, enhanced="4.4.7", reason="other")
    assert (said.enhanced, said.reason, said.uncertain) == ("4.4.7", "other", False)
    assert delivery_event(EventType.ESCAPED, 5, "n1", ID, queue, record, OUTCOME, 2, changes=0).seq == 6


@pytest.mark.parametrize("decided", [True, False])
def test_each_field_that_a_recipient_has_arrives_in_its_place(decided: bool) -> None:
    recipient = Recipient("to@y.test", "y.test")
    message = NewMessage(
        MessageId(b"m" * 16), "from@x.test", (recipient,), "p", ("a",), b"abc", False, 4, 4, 9, 0, (), "192.0.2.7",
        {"k": "v"}, "t",
    )  # fmt: skip
    outcome = msgspec.structs.replace(OUTCOME, mta="", mx="", remote_ip="", tls="", dialogue=()) if decided else None
    event = recipient_event(EventType.INTERCEPTED, 5, "n1", ID, message, recipient, outcome, 4, 6, 7)
    undecided = {"code": 0, "enhanced": "", "text": "", "origin": None, "reason": "", "forced": None}
    none_of = msgspec.structs.asdict(Event(EventType.GAP, 0))
    assert msgspec.structs.asdict(event) == none_of | TOLD | (
        {"category": "policy", "fault": "peer"} if decided else undecided
    )


def test_the_log_has_every_field_of_an_event_and_no_other_but_its_own() -> None:
    of_event = {field.name for field in msgspec.structs.fields(Event)}
    of_line = {field.name for field in msgspec.structs.fields(_Line)}
    assert of_line == of_event - NOT_IN_THE_LINE | OF_THE_LINE


def test_the_event_of_a_delivery_has_two_makers_and_nobody_else_makes_one() -> None:
    makers = {source.name for source in sources("mta", "control_api") if _makes_events(source)} - {"mta.model.events"}
    assert all(any(name.startswith(other) for other in OTHER_MAKERS) for name in makers), makers


def _makes_events(source: Source) -> bool:
    return any(
        isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Event"
        for node in ast.walk(source.tree)
    )
