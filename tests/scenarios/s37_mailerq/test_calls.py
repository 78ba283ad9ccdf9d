"""Calls of MailerQ's clients work unchanged: forced errors and pauses, as JSON and urlencoded, with every selector."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.scenarios.s37_mailerq.client import Client, Fields
from tests.support.node import until

ERRORS, PAUSES = "/v1/errors", "/v1/pauses"

# The selectors of the documentation, alone and combined; the values are our own.
SELECTORS: list[Fields] = [
    {"mta": "192.0.2.1"},
    {"pool": "shared-1"},
    {"domain": "gmail.test"},
    {"ip": "198.51.100.7"},
    {"tag": "campaign 4711: \u20ac & more"},
    {"mta": "192.0.2.1", "domain": "gmail.test"},
    {"mta": "192.0.2.1", "ip": "198.51.100.7"},
    {"pool": "shared-1", "domain": "yahoo.test"},
    {"pool": "shared-1", "ip": "2001:db8::7"},
    {"pool": "shared-1", "domain": "yahoo.test", "tag": "t"},
    {"mta": "2001:db8::1", "domain": "gmail.test", "tag": "t"},
    {"domain": "gmail.test", "cluster": True},
    {"domain": "gmail.test", "cluster": False},
    {"domain": "gmail.test", "tag": "t", "cluster": True},
]
ANSWERS: list[Fields] = [
    {"code": 421, "description": "held back"},
    {"code": "553", "description": "bad mailbox"},
    {"code": 521, "extended": "5.2.1"},
    {"code": "500", "extended": "5.7.1", "description": "withdrawn, sorry"},
]
KEYS = ("mta", "pool", "domain", "ip", "tag", "cluster", "code", "extended", "description")


@pytest.fixture(params=[False, True], ids=["json", "urlencoded"])
def client(place: Any, request: pytest.FixtureRequest) -> Iterator[Client]:
    made = Client(place.api, request.param)
    yield made
    for path in (ERRORS, PAUSES):
        assert made.list(path) == []


def shown(rule: Fields) -> Fields:
    """The documented keys of a rule."""
    return {name: rule[name] for name in KEYS if name in rule}


def told(*parts: Fields) -> Fields:
    """These fields as a list shows them: codes are numbers, and `cluster` is always there."""
    found: Fields = {"cluster": True}
    for part in parts:
        found |= part
    return found | ({"code": int(found["code"])} if "code" in found else {})


@pytest.mark.parametrize("selectors", SELECTORS, ids=lambda selectors: "+".join(selectors))
def test_an_error_is_made_listed_updated_and_removed_with_the_fields_that_made_it(
    client: Client, selectors: Fields
) -> None:
    first, second = ANSWERS[0], ANSWERS[3]
    assert client.post(ERRORS, selectors | first) in (200, 201)
    assert [shown(rule) for rule in client.list(ERRORS)] == [told(selectors, first)]
    assert client.post(ERRORS, selectors | second) in (200, 201)
    assert [shown(rule) for rule in client.list(ERRORS)] == [told(selectors, second)], "updated, not made anew"
    assert client.delete(ERRORS, selectors | first) == 200, "with any code"


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: "+".join(answer))
def test_an_error_has_the_answer_that_was_given(client: Client, answer: Fields) -> None:
    rule = {"domain": "gmail.test", **answer}
    assert client.post(ERRORS, rule) in (200, 201)
    assert [shown(one) for one in client.list(ERRORS)] == [told(rule)]
    assert all(isinstance(one["code"], int) for one in client.list(ERRORS))
    assert client.delete(ERRORS, {"cluster": True, "code": answer["code"], "domain": "gmail.test"}) == 200


@pytest.mark.parametrize("selectors", SELECTORS, ids=lambda selectors: "+".join(selectors))
def test_a_pause_is_made_listed_and_removed_by_its_selectors(client: Client, selectors: Fields) -> None:
    assert client.post(PAUSES, selectors) in (200, 201)
    assert client.post(PAUSES, selectors) in (200, 201), "once more"
    assert [shown(pause) for pause in client.list(PAUSES)] == [told(selectors)]
    assert client.delete(PAUSES, selectors) == 200


@pytest.mark.parametrize("path", [ERRORS, PAUSES])
def test_selectors_of_a_removal_may_stand_in_the_query_and_no_other_rule_goes(client: Client, path: str) -> None:
    code = {"code": 554} if path == ERRORS else {}
    wide, narrow = {"domain": "gmail.test"}, {"domain": "gmail.test", "tag": "a b"}
    for selectors in (wide, narrow):
        assert client.post(path, selectors | code) in (200, 201)
    assert client.delete_by_query(path, narrow) == 200
    assert [shown(rule) for rule in client.list(path)] == [told(wide, code)]
    assert client.delete_by_query(path, {**wide, **code, "cluster": True}) == 200


@pytest.mark.parametrize("path", [ERRORS, PAUSES])
@pytest.mark.parametrize(
    "both", [{"pool": "shared-1", "mta": "192.0.2.1"}, {"domain": "gmail.test", "ip": "192.0.2.9"}], ids="+".join
)
def test_selectors_that_exclude_each_other_are_refused(client: Client, path: str, both: Fields) -> None:
    assert client.post(path, both | ({"code": 554} if path == ERRORS else {})) == 400


def test_a_5xx_ends_the_mail_of_a_tag_and_a_421_lets_it_be_tried_again(place: Any, client: Client) -> None:
    name = "form" if client.form else "json"
    ends, defers = {"tag": f"ends-{name}"}, {"tag": f"defers-{name}"}
    assert client.post(ERRORS, {**ends, "code": "554", "extended": "5.7.1", "description": "withdrawn"}) in (200, 201)
    assert client.post(ERRORS, {**defers, "code": 421, "description": "later"}) in (200, 201)
    place.node.send(f"a@{name}.test", (ends["tag"],))
    place.node.send(f"b@{name}.test", (defers["tag"],))
    (ended,) = place.logged(ends["tag"], "Intercepted", 1)
    assert (ended["code"], ended["enhanced"], ended["text"]) == (554, "5.7.1", "withdrawn")
    (deferred,) = place.logged(defers["tag"], "TransientFailure", 1)
    assert (deferred["code"], deferred["text"], deferred["attempt"]) == (421, "later", 1)
    assert "next_attempt" in deferred
    for selectors in (ends, defers):
        assert client.delete(ERRORS, selectors) == 200
    assert place.arrived(f"{name}.test") == []


def test_a_pause_holds_mail_until_it_is_removed(place: Any, client: Client) -> None:
    name = "held-form" if client.form else "held-json"
    assert client.post(PAUSES, {"tag": name}) in (200, 201)
    place.node.send(f"a@{name}.test", (name,))
    place.rests(name, held=1)
    assert client.delete(PAUSES, {"tag": name}) == 200
    until(lambda: place.arrived(f"{name}.test") == [f"a@{name}.test"])


def test_injection_headers_are_read_and_taken_out(place: Any) -> None:
    headers = {"X_MQ_Pool": "default", "X_MQ_MaxAttempts": "3", "X_MQ_Retries": "300,600,3600"}
    (message,) = place.node.send(
        "a@headers.test",
        ("one", "two, with a comma"),
        **headers,
        X_MQ_Envelope="bounce@sender.test",
        X_MQ_Colour="blue",
    )
    until(lambda: place.taken("headers.test"))
    (received,) = place.taken("headers.test")
    assert received.sender == "bounce@sender.test"
    assert b"x-mq-" not in received.body.lower()
    (event,) = place.logged("one", "Delivery", 1)
    assert (event["message_id"], event["tags"]) == (message, ["one", "two, with a comma"])
    assert event["properties"] == {"colour": "blue"}
