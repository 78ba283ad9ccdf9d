"""The commands that read history, against the API over a history in memory."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from mta.model.events import Event, EventType
from mta.model.ids import MessageId, delivery_id, delivery_text, message_text
from mta.ports.history import HourCount
from mta.ports.stored_mail import KeptMail, Resent
from tests.support.commands import Floodgate
from tests.support.control_api import Cluster
from tests.support.memory_history import MemoryHistory

AT = 1_700_000_000_000  # Unix ms
MESSAGE = MessageId(AT.to_bytes(6, "big") + bytes(10))
TEXT = message_text(MESSAGE)


@pytest.fixture
def history(cluster: Cluster) -> MemoryHistory:
    assert isinstance(cluster.history, MemoryHistory)
    return cluster.history


def put(history: MemoryHistory, number: int, kind: EventType = EventType.DELIVERY, **more: Any) -> str:
    fields = {"tags": ("red",), "recipient": f"r{number}@example.com", "pool": "gold", "seq": number} | more
    id_ = delivery_id(MESSAGE, number)
    history.add(Event(kind, AT + number, id_, "n1", **fields))
    return delivery_text(id_)


def test_deliveries_are_listed_the_newest_first(floodgate: Floodgate, history: MemoryHistory) -> None:
    ids = [put(history, number) for number in range(1, 4)]
    put(history, 4, EventType.BOUNCE, code=550, enhanced="5.1.1", text="nobody", tags=("blue",))
    for words in (("log", "search"), ("messages", "list")):
        listed = json.loads(floodgate(*words, "--tag", "red", "--json").stdout)
        assert [record["id"] for record in listed] == ids[::-1]
    table = floodgate("log", "search", "--status", "UNDELIVERABLE").stdout
    assert "r4@example.com" in table
    assert "550 5.1.1 nobody" in table
    cut = floodgate("messages", "list", "--limit", "2")
    assert (cut.stdout.count("r4@") + cut.stdout.count("r3@"), "cut off" in cut.stderr) == (2, True)
    assert len(json.loads(floodgate("messages", "list", "--all", "--json").stdout)) == 4


def test_an_export_is_written_as_it_comes(floodgate: Floodgate, history: MemoryHistory, tmp_path: Path) -> None:
    for number in range(1, 4):
        put(history, number)
    lines = floodgate("log", "export", "--tag", "red").stdout.splitlines()
    assert [json.loads(line)["recipient"][:2] for line in lines] == ["r3", "r2", "r1"]
    file = tmp_path / "out.csv"
    assert floodgate("log", "export", "--format", "csv", "--output", str(file)).exit_code == 0
    assert len(list(csv.DictReader(io.StringIO(file.read_text(), newline="")))) == 3
    assert floodgate("log", "export", "--format", "pmta").stdout.count("\nd,") == 3
    refused = floodgate("log", "export", "--intercepted-as", "b")
    assert (refused.exit_code, "pmta" in refused.stderr) == (2, True)
    bad = floodgate("log", "export", "--from", "yesterday")
    assert (bad.exit_code, bad.stderr.startswith("floodgate: from: ")) == (1, True)


def test_a_message_is_told_read_and_sent_again(floodgate: Floodgate, cluster: Cluster, history: MemoryHistory) -> None:
    put(history, 1, EventType.TRANSIENT_FAILURE, dialogue=("C: DATA", "S: 451 later"), code=451)
    told = floodgate("messages", "history", TEXT).stdout
    assert "TransientFailure" in told
    assert "    S: 451 later" in told
    assert json.loads(floodgate("messages", "history", TEXT, "--json").stdout)[0]["dialogue"][0] == "C: DATA"
    cluster.mail[MESSAGE] = KeptMail("", b"Subject: x\r\n\r\ny\r\n")
    assert "Subject: x" in floodgate("messages", "content", TEXT).stdout
    cluster.resends[MESSAGE, 0] = Resent(MESSAGE, ("a@x.test",))
    assert floodgate("messages", "resend", TEXT).stdout == f"{TEXT}.1  a@x.test\n"
    assert floodgate("messages", "content", "0" * 26).exit_code == 1


def test_statistics_show_the_figures_that_are_not_zero(floodgate: Floodgate, history: MemoryHistory) -> None:
    history.found_counts = [HourCount(AT // 3_600_000 * 3_600_000, "gold", "", "", "", "Reception", 12)]
    shown = floodgate("stats", "--by", "pool", "--interval", "1h").stdout
    assert shown.split() == ["begins", "pool", "accepted", "2023-11-14T22:00Z", "gold", "12"]
    assert json.loads(floodgate("stats", "--json").stdout)[0]["accepted"] == 12


def test_the_deliveries_of_a_forced_error_are_written(
    floodgate: Floodgate, cluster: Cluster, history: MemoryHistory
) -> None:
    made = json.loads(floodgate("errors", "add", "554", "--tag", "red", "--yes", "--json").stdout)
    put(history, 1)
    rows = floodgate("errors", "deliveries", made["id"], "--class", "before", "--format", "csv").stdout
    assert "r1@example.com" in rows
    assert floodgate("errors", "deliveries", made["id"], "--class", "gone").exit_code == 1
