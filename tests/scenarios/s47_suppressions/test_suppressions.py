"""Suppressed recipients get nothing: at acceptance, where their mail waits, and until the suppression is removed."""

import csv
import email
import io
import json
import urllib.request
from typing import Any

from tests.support.node import TOKEN, until

PATH = "/v1/suppressions"


def add(place: Any, **fields: Any) -> Any:
    answer = place.call("POST", f"{PATH}?wait=50s", fields)
    assert answer["effective"] is True
    return answer


def record(place: Any, message: str) -> list[tuple[str, str, Any, Any]]:
    """Recipient, status, reason and topic of each delivery."""
    found = place.call("GET", f"/v1/messages/{message}")["recipients"]
    return [(one["recipient"], one["status"], one.get("reason"), one.get("topic")) for one in found]


def stream(place: Any, method: str, path: str, body: bytes | None = None, kind: str = "application/x-ndjson") -> bytes:
    request = urllib.request.Request(place.api + path, body, method=method)
    request.add_header("Authorization", f"Bearer {TOKEN}")
    request.add_header("Content-Type", kind)
    with urllib.request.urlopen(request, timeout=90) as answer:
        read: bytes = answer.read()
        return read


def together(place: Any, tag: str, *to: str, topic: str = "") -> str:
    """The id of one message to all of these."""
    more = f"X-MQ-Topic: {topic}\r\n" if topic else ""
    with place.node.sender() as client:
        assert client.mail("from@example.org")[0] == 250
        assert all(client.rcpt(address)[0] == 250 for address in to)
        code, reply = client.data(f"X-MQ-Tag: {tag}\r\n{more}Subject: {tag}\r\n\r\nhello\r\n".encode())
    assert code == 250
    return str(reply.decode().rpartition(" ")[2])


def test_mail_to_a_suppressed_recipient_is_filtered_when_it_is_accepted(place: Any) -> None:
    added = add(place, address="Anna@News.test", topic="news", reason="unsubscribe", note="asked by mail")
    assert (added["address"], added["topic"], added["note"]) == ("anna@news.test", "news", "asked by mail")
    ids = [
        together(place, "filtered", "anna@NEWS.test", "bob@news.test", topic=topic)
        for topic in ("news", "news", "alerts")
    ]
    got = until(lambda: len(found := place.sink.to("news.test")) == 3 and found)
    assert sorted(len(one.recipients) for one in got) == [1, 1, 2]
    gone = ("anna@NEWS.test", "FILTERED", "unsubscribe", "news")
    for id_ in ids[:2]:
        assert until(lambda id_=id_: (r := record(place, id_))[1][1] == "SENT" and r) == [
            gone, ("bob@news.test", "SENT", None, None),
        ]  # fmt: skip
    lines = until(lambda: len(found := [e for e in place.node.events() if e["type"] == "Filtered"]) == 2 and found)
    assert [(e["recipient"], e["reason"], e["topic"], e["origin"], e["seq"]) for e in lines] == [
        ("anna@NEWS.test", "unsubscribe", "news", "local", 2)
    ] * 2
    statement = until(lambda: (s := place.node.statement("filtered"))["delivered"] == 4 and s)
    assert (statement["accepted"], statement["filtered"], statement["balanced"]) == (6, 2, True)
    path = "/v1/messages?status=FILTERED&tag=filtered"
    listed = until(lambda: len(found := place.call("GET", path)["messages"]) == 2 and found)
    assert [(one["recipient"], one["reason"], one["topic"]) for one in listed] == [gone[:1] + gone[2:]] * 2
    assert place.call("GET", "/v1/tags/filtered/deliveries?class=filtered") == listed


def test_mail_that_waits_is_filtered_at_its_next_attempt(place: Any) -> None:
    place.sink.script("RCPT", "450 4.2.1 later")
    (id_,) = place.node.send("carl@waits.test", ("waits",))
    until(lambda: [e for e in place.node.events() if e["type"] == "TransientFailure" and e["message_id"] == id_])
    place.sink.script("RCPT", None)
    add(place, domain="waits.test", reason="complaint", extended="5.7.1")
    place.call("POST", "/v1/queues/retry", {"domain": "waits.test"})
    assert until(lambda: (r := record(place, id_))[0][1] == "FILTERED" and r) == [
        ("carl@waits.test", "FILTERED", "complaint", None)
    ]
    assert place.sink.to("waits.test") == []
    (line,) = until(lambda: [e for e in place.node.events() if e["type"] == "Filtered" and e["message_id"] == id_])
    assert (line["reason"], line["enhanced"], line["attempt"], line["seq"]) == ("complaint", "5.7.1", 1, 3)


def test_a_removal_is_in_force_at_once_and_a_dry_run_removes_nothing(place: Any) -> None:
    add(place, address="dora@back.test")
    add(place, address="emil@back.test", reason="hard_bounce")
    assert place.call("DELETE", f"{PATH}?domain=back.test&dry_run=true") == {"matched": 2, "removed": 0}
    assert place.call("DELETE", f"{PATH}?domain=back.test&reason=manual") == {"matched": 1, "removed": 1}
    together(place, "back", "dora@back.test", "emil@back.test")
    assert [one.recipients for one in until(lambda: place.sink.to("back.test"))] == [["dora@back.test"]]


def test_what_was_imported_filters_mail_and_comes_out_as_it_went_in(place: Any) -> None:
    rows = [{"address": f"n{number}@many.test", "reason": "manual", "topic": "list"} for number in range(2500)]
    body = b"".join(json.dumps(row).encode() + b"\n" for row in rows) + b'{"address": "no"}\nx\n'
    answer = json.loads(stream(place, "POST", f"{PATH}/import?wait=50s", body))
    errors = answer.pop("errors")
    assert answer == {"rows": 2502, "added": 2500, "replaced": 0, "refused": 2, "effective": True}
    assert [(one["line"], one["field"]) for one in errors] == [(2501, "address"), (2502, "body")]
    together(place, "many", "n7@many.test", "n2600@many.test", topic="list")
    assert [one.recipients for one in until(lambda: place.sink.to("many.test"))] == [["n2600@many.test"]]

    exported = stream(place, "GET", f"{PATH}/export?domain=many.test&format=csv")
    cells = list(csv.DictReader(io.StringIO(exported.decode())))
    assert sorted(one["address"] for one in cells) == sorted(row["address"] for row in rows)
    assert {(one["topic"], one["reason"], one["domain"]) for one in cells} == {("list", "manual", "")}
    again = json.loads(stream(place, "POST", f"{PATH}/import?wait=0", exported, "text/csv"))
    assert (again["rows"], again["replaced"], again["errors"]) == (2500, 2500, [])

    listed, cursor = [], ""
    while cursor is not None:
        page = place.call("GET", f"{PATH}?domain=many.test&limit=1000{cursor and '&cursor=' + cursor}")
        assert len(page["suppressions"]) <= 1000
        listed += [one["address"] for one in page["suppressions"]]
        cursor = page["cursor"]
    assert sorted(listed) == sorted(row["address"] for row in rows)
    assert place.call("DELETE", f"{PATH}?topic=list") == {"matched": 2500, "removed": 2500}
    assert stream(place, "GET", f"{PATH}/export?topic=list") == b""


def test_a_bounce_of_an_unknown_recipient_suppresses_the_address_and_a_forced_error_does_not(place: Any) -> None:
    place.call("POST", "/v1/errors?wait=50s", {"code": 550, "extended": "5.1.1", "domain": "forced.test"})
    place.node.send("gone@forced.test", ("auto",))
    place.sink.script("RCPT", "550 5.1.1 The email account that you tried to reach does not exist")
    place.node.send("gone@bounce.test", ("auto",))
    found = until(lambda: place.call("GET", f"{PATH}?reason=hard_bounce&domain=bounce.test")["suppressions"])
    place.sink.script("RCPT", None)
    assert [one["address"] for one in found] == ["gone@bounce.test"]
    assert found[0]["note"].startswith("550 5.1.1 The email account")
    assert place.call("GET", f"{PATH}?domain=forced.test")["suppressions"] == []

    def filtered() -> str:
        (id_,) = place.node.send("gone@bounce.test", ("auto",))
        return id_ if record(place, id_)[0][1] == "FILTERED" else ""

    id_ = until(filtered)
    assert record(place, id_) == [("gone@bounce.test", "FILTERED", "hard_bounce", None)]


def test_one_click_unsubscribes_from_the_topic_of_the_mail(place: Any) -> None:
    mail = {
        "from": "shop@example.org", "to": ["Fred@click.test"], "subject": "News", "html": "<p>Hello</p>",
        "topic": "news", "unsubscribe": True, "tags": ["click"],
    }  # fmt: skip
    refused = place.node.call("POST", "/v1/messages", mail)
    assert (refused[0], refused[1]["error"]["field"]) == (422, "unsubscribe"), "nothing signs it yet"
    key = {"domain": "example.org", "selector": "s1", "state": "active", "algorithm": "ed25519"}
    place.call("POST", "/v1/dkim", key, (201,))
    until(lambda: place.node.call("POST", "/v1/messages", mail)[0] == 202, what="the key is not in force")
    (got,) = until(lambda: place.sink.to("click.test"))
    header = email.message_from_bytes(got.body)
    assert header["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    link = header["List-Unsubscribe"].strip()
    assert link.startswith("<https://click.example.com/u/")
    there = place.node.ready["tracking"] + link.strip("<>").removeprefix("https://click.example.com")
    with urllib.request.urlopen(there, timeout=90) as page:
        assert b"No more mail about news will be sent to Fred@click.test." in page.read()
    assert place.call("GET", f"{PATH}?domain=click.test")["suppressions"] == [], "a GET unsubscribes nobody"
    with urllib.request.urlopen(there, b"List-Unsubscribe=One-Click", timeout=90) as answer:
        assert answer.status == 200
    (kept,) = until(lambda: place.call("GET", f"{PATH}?domain=click.test")["suppressions"])
    assert (kept["address"], kept["topic"], kept["reason"]) == ("fred@click.test", "news", "unsubscribe")
    (line,) = until(lambda: [e for e in place.node.events() if e["type"] == "Unsubscribe"])
    assert (line["recipient"], line["topic"], line["tags"], line["domain"]) == (
        "Fred@click.test", "news", ["click"], "click.test",
    )  # fmt: skip
    many = mail | {"to": ["fred@click.test", "gus@click.test"]}
    refused = place.node.call("POST", "/v1/messages", many)
    assert (refused[0], refused[1]["error"]["field"]) == (422, "unsubscribe")

    def filtered() -> Any:
        sent = place.call("POST", "/v1/messages", many | {"separate": True}, (202,))["recipients"]
        return [one.get("status") for one in sent] == ["FILTERED", None]

    until(filtered)
    sent = place.call("POST", "/v1/messages", mail | {"topic": "orders"}, (202,))["recipients"]
    assert "status" not in sent[0]
