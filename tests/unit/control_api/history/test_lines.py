"""Records as lines: JSON, CSV (RFC 4180), and PowerMTA's accounting."""

import csv
import io
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_api.history import pmta
from control_api.history.lines import csv_header, csv_lines
from control_api.schemas.message_answers import Recipient
from mta.model.delivery_facts import CELLS
from mta.model.events import Event, EventType
from mta.model.ids import MessageId, delivery_id
from mta.model.outcomes import Forced, Origin, Stage
from mta.model.record_lines import record_lines
from mta.model.status import DeliveryRow

AT = 1_700_000_000_000  # Unix ms: 2023-11-14T22:13:20Z
ID = delivery_id(MessageId(AT.to_bytes(6, "big") + bytes(10)), 2)
TEXT = "01HF7YAT000000000000000000"


def a_row(kind: EventType = EventType.DELIVERY, **more: Any) -> DeliveryRow:
    fields: dict[str, Any] = {
        "tags": ("red", "news"), "pool": "gold", "mta": "192.0.2.1", "sender": "from@example.org",
        "recipient": "to@example.com", "domain": "example.com", "attempt": 1, "mx": "mx.example.com",
        "remote_ip": "192.0.2.9", "tls": "TLSv1.3 TLS_AES_256_GCM_SHA384", "code": 250, "enhanced": "2.0.0",
        "text": "ok", "origin": Origin.REMOTE, "size": 99, "queued_at": AT, "route": "mx", "seq": 2,
    }  # fmt: skip
    return DeliveryRow(ID, Event(kind, AT + 2500, ID, "n1", **fields | more))


def record(row: DeliveryRow) -> dict[str, Any]:
    line = record_lines([row])
    assert line.endswith(b"\n")
    msgspec.json.decode(line, type=Recipient)  # as the description says
    return dict(json.loads(line))


def cells(*rows: DeliveryRow) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO((csv_header() + csv_lines(rows)).decode(), newline="")))


def test_a_delivered_one_has_what_is_known_and_no_error() -> None:
    assert record(a_row()) == {
        "id": f"{TEXT}.2", "message_id": TEXT, "recipient": "to@example.com", "sender": "from@example.org",
        "status": "DELIVERED", "tags": ["red", "news"], "pool": "gold", "mta": "192.0.2.1", "mx": "mx.example.com",
        "attempts": 1, "accepted_at": "2023-11-14T22:13:20.000Z", "delivered_at": "2023-11-14T22:13:22.500Z",
        "ended_at": "2023-11-14T22:13:22.500Z", "updated_at": "2023-11-14T22:13:22.500Z", "seq": 2,
    }  # fmt: skip
    assert record(a_row(route="relay.test:25"))["sent_at"] == "2023-11-14T22:13:22.500Z"


def test_the_first_visits_of_a_reader_are_told() -> None:
    row = msgspec.structs.replace(a_row(), opened_at=AT + 3000, clicked_at=AT + 4000)
    told = {"opened_at": "2023-11-14T22:13:23.000Z", "clicked_at": "2023-11-14T22:13:24.000Z"}
    assert record(row) == record(a_row()) | told
    assert cells(row, a_row()) == [cells(a_row())[0] | told, cells(a_row())[0]]


FORCED = Forced("ab12", 7, Stage.QUEUED)


@pytest.mark.parametrize(
    ("kind", "more", "shown"),
    [
        (EventType.RECEPTION, {"queued_at": 0}, {"status": "ENQUEUED", "accepted_at": "2023-11-14T22:13:22.500Z"}),
        (EventType.RECEPTION, {"next_attempt": AT + 9000}, {"status": "DELAYED"}),
        (
            EventType.TRANSIENT_FAILURE,
            {"next_attempt": AT + 9000},
            {"status": "ENQUEUED", "next_attempt": "2023-11-14T22:13:29.000Z"},
        ),
        (EventType.HOLD, {}, {"status": "HELD"}),
        (EventType.PARKED, {}, {"status": "HELD", "reason": "PARKED"}),
        (EventType.CANCELLATION, {}, {"status": "CANCELED", "canceled_at": "2023-11-14T22:13:22.500Z"}),
        (EventType.BOUNCE, {}, {"reason": "BOUNCED"}),
        (EventType.BOUNCE, {"origin": Origin.LOCAL, "enhanced": "5.4.4"}, {"reason": "UNROUTABLE"}),
        (EventType.EXPIRATION, {"uncertain": True}, {"reason": "EXPIRED", "uncertain": True}),
        (
            EventType.INTERCEPTED,
            {"forced": FORCED},
            {"reason": "INTERCEPTED", "forced": {"rule": "ab12", "generation": 7, "stage": "queued"}},
        ),
    ],
)
def test_each_event_says_how_the_delivery_stands(kind: EventType, more: dict[str, Any], shown: dict[str, Any]) -> None:
    found = record(a_row(kind, code=451, **more))
    assert {name: found.get(name) for name in shown} == shown
    assert found["error"]["code"] == 451
    assert found["uncertain"] is more.get("uncertain", False)


def test_csv_has_the_names_of_the_record_nested_by_dot() -> None:
    assert csv_header() == (",".join(CELLS) + "\r\n").encode()
    (row,) = cells(a_row(EventType.INTERCEPTED, forced=FORCED, code=554, text="a, b", properties={"job": "7"}))
    assert (row["error.code"], row["error.text"], row["tags"]) == ("554", "a, b", "red news")
    assert (row["forced.rule"], row["forced.stage"], row["uncertain"]) == ("ab12", "queued", "false")
    assert json.loads(row["metadata"]) == {"job": "7"}
    assert row["delivered_at"] == ""
    names = {name.partition(".")[0] for name in CELLS}
    assert names <= {field.name for field in msgspec.structs.fields(Recipient)}


@pytest.mark.parametrize("first", "=+-@")
@pytest.mark.parametrize("more", ["", ', "quoted"', "\N{LATIN SMALL LETTER E WITH ACUTE}"])
def test_a_cell_that_a_spreadsheet_would_calculate_is_quoted(first: str, more: str) -> None:
    recipient = f"{first}cmd|' /C calc'!A0{more}@example.com"
    (row,) = cells(a_row(recipient=recipient))
    assert row["recipient"] == "'" + recipient
    assert row["sender"] == "from@example.org"


@given(st.lists(st.tuples(st.text(), st.text(), st.lists(st.text(), max_size=3)), max_size=4))
def test_one_row_is_one_line_whatever_is_in_it(texts: list[tuple[str, str, list[str]]]) -> None:
    rows = [
        a_row(EventType.BOUNCE, recipient=recipient, code=550, text=text, tags=tuple(tags))
        for recipient, text, tags in texts
    ]
    assert len(record_lines(rows).decode().splitlines()) == len(rows)
    lines = csv_lines(rows).decode()
    assert lines.replace("\r\n", "").isprintable()
    assert len(cells(*rows)) == len(rows) == lines.count("\r\n")


def test_a_reply_is_cut_off() -> None:
    assert len(record(a_row(EventType.BOUNCE, text="x" * 5000))["error"]["text"]) == 1024


def accounting(*rows: DeliveryRow, forced: str = pmta.FORCED) -> list[dict[str, str]]:
    text = (pmta.header() + pmta.accounting_lines(rows, forced)).decode()
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_powermtas_accounting_has_its_columns() -> None:
    (row,) = accounting(a_row())
    assert {name: value for name, value in row.items() if value} == {
        "type": "d", "timeLogged": "2023-11-14 22:13:22+0000", "timeQueued": "2023-11-14 22:13:20+0000",
        "totalSecondsQueued": "2", "orig": "from@example.org", "rcpt": "to@example.com", "dsnAction": "delivered",
        "dsnStatus": "2.0.0", "dsnDiag": "smtp;250 2.0.0 ok", "dsnMta": "mx.example.com (192.0.2.9)",
        "srcType": "smtp", "dlvType": "smtp", "dlvSourceIp": "192.0.2.1", "dlvDestinationIp": "192.0.2.9",
        "dlvSize": "99", "vmta": "gold", "jobId": "red", "queue": "example.com/gold", "vmtaPool": "gold",
        "dlvTlsProtocol": "TLSv1.3", "dlvTlsCipher": "TLS_AES_256_GCM_SHA384",
    }  # fmt: skip


def test_powermtas_accounting_tells_faults_of_recipients_from_orders() -> None:
    rows = [
        a_row(EventType.BOUNCE, code=550, enhanced="5.1.1"),
        a_row(EventType.BOUNCE, code=550, enhanced="", text="=no"),
        a_row(EventType.EXPIRATION, code=451, enhanced="4.4.7"),
        a_row(EventType.BOUNCE, code=550, enhanced="5.4.9", origin=Origin.LOCAL),
        a_row(EventType.INTERCEPTED, code=554, forced=FORCED),
        a_row(EventType.CANCELLATION, code=0),
        a_row(EventType.TRANSIENT_FAILURE),
    ]
    found = [(row["type"], row["bounceCat"], row["dsnAction"]) for row in accounting(*rows)]
    assert found == [
        ("b", "bad-mailbox", "failed"), ("b", "other", "failed"), ("b", "message-expired", "failed"),
        ("b", "routing-errors", "failed"), ("fe", "other", "failed"), ("ca", "other", "failed"),
    ]  # fmt: skip
    assert [row["type"] for row in accounting(rows[4], forced="b")] == ["b"]
