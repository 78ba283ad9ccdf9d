"""From the fields of a call to its messages: who gets which, as what, and which fields are refused."""

import base64
import email
import email.policy
from typing import Any

import pytest

from control_api.http.problems import Problem
from control_api.injection.limits import CallLimits
from control_api.injection.mailerq import plan_injected
from control_api.injection.plan import Plan, Planner
from control_api.injection.ready_mime import ReadyMime
from control_api.schemas.attachment_values import ATTACHMENTS
from mta.model.actor import Actor, ActorKind
from mta.model.errors import BadValue
from mta.model.settings import MessagesSettings, NodeSettings, Settings, SmtpSettings

NOW = 1_900_000_000_000
ADMIN = Actor(ActorKind.TOKEN, "admin", "192.0.2.9")
BOUND = Actor(ActorKind.TOKEN, "crm", "192.0.2.9", "t1", tenant="acme")


def planner(**smtp: Any) -> Planner:
    settings = Settings(
        node=NodeSettings(name="n1"),
        smtp=SmtpSettings(**{"max_message_size": 20_000, "max_recipients": 50} | smtp),
        messages=MessagesSettings(max_batch=100),
    )
    return Planner(CallLimits.of(settings), ReadyMime(settings.smtp))


def plan(actor: Actor = ADMIN, smtp: dict[str, Any] | None = None, **fields: Any) -> Plan:
    body = {"from": "shop@example.com", "to": "ann@example.net", "subject": "s", "text": "t"} | fields
    given = {name: value for name, value in body.items() if value is not None}
    return planner(**smtp or {}).plan(given, actor, NOW)


def refused(**fields: Any) -> tuple[str, str]:
    with pytest.raises(BadValue) as caught:
        plan(**fields)
    return caught.value.field, caught.value.reason


def read(draft: Any) -> Any:
    return email.message_from_bytes(draft.header + draft.rest, policy=email.policy.default)


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("Shop <shop@example.com>", "Shop"),
        ('"Smith, \\"Ann\\"" <shop@example.com>', 'Smith, "Ann"'),
        ("Käthe's Shop<shop@example.com>", "Käthe's Shop"),
        (" <shop@example.com> ", ""),
    ],
)
def test_an_address_may_have_a_name_before_it(given: str, name: str) -> None:
    made = plan(**{"from": given, "to": [given]})
    (draft,) = made.drafts
    assert (made.sender, draft.recipients) == ("shop@example.com", ("shop@example.com",))
    (author,) = read(draft)["From"].addresses
    assert (author.display_name, author.addr_spec) == (name, "shop@example.com")


@pytest.mark.parametrize("given", ["Shop <shop>", "A <a@b.test>, B <b@b.test>", "A\r\nBcc: x <a@b.test>", "Shop <>"])
def test_a_name_does_not_make_an_address(given: str) -> None:
    assert refused(**{"from": given})[0] == "from"


def test_to_and_cc_are_named_and_bcc_is_not() -> None:
    made = plan(to=["ann@example.net", {"email": "bob@example.net", "name": "Bob"}], cc="cc@x.test", bcc=["b@x.test"])
    (draft,) = made.drafts
    assert draft.recipients == ("ann@example.net", "bob@example.net", "cc@x.test", "b@x.test")
    message = read(draft)
    assert (message["To"], message["Cc"]) == ("ann@example.net, Bob <bob@example.net>", "cc@x.test")
    assert "Bcc" not in message
    assert b"b@x.test" not in draft.header + draft.rest
    assert [place.number for place in made.places] == [1, 2, 3, 4]


def test_separate_messages_name_one_recipient_each_and_share_the_body() -> None:
    to = ["ann@example.net", {"email": "bob@example.net", "metadata": {"Order": "4711"}}, "no address"]
    made = plan(to=to, separate=True, metadata={"run": "7"})
    ann, bob = made.drafts
    assert (read(ann)["To"], read(bob)["To"]) == ("ann@example.net", "bob@example.net")
    assert ann.rest is bob.rest
    assert (ann.properties, bob.properties, made.asked.properties) == (None, {"order": "4711"}, {"run": "7"})
    assert [place.draft for place in made.places] == [0, 1, -1]
    assert made.places[2].addressee.problem is not None
    assert made.places[2].addressee.problem.field == "to[2]"


def test_an_address_that_is_given_twice_gets_a_message_for_each_time_only_where_they_are_separate() -> None:
    assert len(plan(to=["ann@example.net", "ann@example.net"], separate=True).drafts) == 2
    (draft,) = plan(to=["ann@example.net", "ann@EXAMPLE.net"]).drafts
    assert draft.recipients == ("ann@example.net",)


def test_attachments_without_a_content_id_are_as_many_as_wanted() -> None:
    assert len(ATTACHMENTS.read([{"content": "YQ=="}, {"content": "YQ==", "content_id": ""}], "attachments")) == 2


def test_the_envelope_sender_is_the_author_unless_another_is_given() -> None:
    assert plan().sender == "shop@example.com"
    assert plan(envelope_from="bounces@example.com").sender == "bounces@example.com"
    assert plan(envelope_from="").sender == plan(envelope_from="<>").sender == ""
    assert read(plan(envelope_from="", reply_to=["a@x.test", "b@x.test"]).drafts[0])["Reply-To"] == "a@x.test, b@x.test"


def test_labels_are_those_of_the_call() -> None:
    asked = plan(tags=["a", "b", "a"], pool="@192.0.2.1", priority=2, max_age="2h", tenant="acme").asked
    assert (asked.tags, asked.pool, asked.priority, asked.tenant) == (("a", "b"), "@192.0.2.1", 2, "acme")
    assert asked.max_age == 7200.0


def test_the_tenant_of_a_token_wins() -> None:
    assert plan(BOUND).asked.tenant == plan(BOUND, tenant="acme").asked.tenant == "acme"
    with pytest.raises(Problem) as caught:
        plan(BOUND, tenant="other")
    assert (caught.value.status, caught.value.field) == (403, "tenant")


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"to": None}, "to"),
        ({"to": [f"{n}@x.test" for n in range(51)]}, "to"),
        ({"to": [f"{n}@x.test" for n in range(101)], "separate": True}, "to"),
        ({"to": {"email": "a@x.test", "colour": 1}}, "to.colour"),
        ({"attachments": [{"content": "YQ==", "colour": 1}]}, "attachments[0].colour"),
        ({"to": {"name": "Ann"}}, "to.email"),
        ({"to": {"email": "a@x.test", "name": "a\r\nb"}}, "to.name"),
        ({"to": [{"email": "a@x.test", "metadata": {"a": "b"}}]}, "to[0].metadata"),
        ({"from": None}, "from"),
        ({"from": {"email": "shop@example.com\r\nBcc: x@x.test"}}, "from.email"),
        ({"from": "sh\u00f6p@example.com"}, "from"),
        ({"from": ["a@x.test", "b@x.test"]}, "from"),
        ({"subject": None, "text": None}, "text"),
        ({"text": "a\0b"}, "text"),
        ({"headers": {"A b": "c"}}, "headers.A b"),
        ({"headers": {"X-A": ""}}, "headers.X-A"),
        ({"headers": {"x-mq-tag": "c"}}, "headers.x-mq-tag"),
        ({"headers": {"Received": "c"}}, "headers.Received"),
        ({"headers": {"Content-Type": "c"}}, "headers.Content-Type"),
        ({"headers": {"To": "c@x.test"}}, "headers.To"),
        ({"attachments": [{"content": "YQ==", "filename": "a\nb"}]}, "attachments[0].filename"),
        ({"attachments": [{"content": "YQ==", "content_type": "text"}]}, "attachments[0].content_type"),
        ({"attachments": [{"content": "YQ==", "content_type": "multipart/mixed"}]}, "attachments[0].content_type"),
        ({"attachments": [{"content": "YQ==", "content_id": "<a>"}]}, "attachments[0].content_id"),
        ({"attachments": [{}]}, "attachments[0].content"),
        ({"metadata": {"a b": "c"}}, "metadata"),
        ({"metadata": {"a": "c" * 1025}}, "metadata.a"),
        ({"tags": ["t", "a\nb"]}, "tags[1]"),
        ({"priority": 3}, "priority"),
        ({"max_age": 0}, "max_age"),
        (
            {"attachments": [{"content": "YQ==", "content_id": "a"}, {"content": "Yg==", "content_id": "a"}]},
            "attachments[1].content_id",
        ),
        ({"track": {"x": True}}, "track.x"),
        ({"mime": "", "subject": None, "text": None}, "mime"),
        ({"mime": "no header\r\n", "subject": None, "text": None}, "mime"),
        ({"mime": "X-MQ-Tag: a\r\n\r\nx", "subject": None, "text": None}, "mime"),
    ],
)
def test_a_value_that_cannot_be_taken_is_named(fields: dict[str, Any], field: str) -> None:
    found, reason = refused(**fields)
    assert found == field
    assert reason


def test_a_message_that_is_too_large_is_refused_by_its_size_as_mime() -> None:
    with pytest.raises(Problem) as caught:
        plan(text="x" * 20_001)
    assert (caught.value.status, caught.value.field) == (413, "body")


def test_ready_mime_stays_as_it_is_but_for_its_line_ends() -> None:
    mime = "Subject: s\nX-Own: \u00e4\n\n.line\nFrom here\n"
    (draft,) = plan(mime=mime, subject=None, text=None, to=["a@x.test", "b@x.test"]).drafts
    assert draft.header + draft.rest == mime.encode().replace(b"\n", b"\r\n")
    with pytest.raises(BadValue, match="bare_newline"):
        plan(smtp={"bare_newline": "refuse"}, mime=mime, subject=None, text=None)


def injected(**fields: Any) -> Plan:
    mime = "From: a@x.test\r\nSubject: s\r\n\r\nt\r\n"
    return plan_injected(planner(), {"recipient": "ann@example.net", "mime": mime} | fields, ADMIN, NOW)


def test_a_message_of_mailerq_has_its_times_ips_and_properties() -> None:
    made = injected(
        envelope="a@x.test", ips=["192.0.2.1"], pool="shared", nextattempt={"time": "2030-03-17 18:00:00"},
        maxdelivertime="2030-03-18 18:00:00", maxattempts=3, retries=[60, 600], customer=17, Order="x",
    )  # fmt: skip
    asked = made.asked
    assert (made.sender, asked.pool, asked.max_attempts, asked.retries) == ("a@x.test", "@192.0.2.1", 3, (60, 600))
    assert asked.due_at is not None
    assert asked.expires_at == asked.due_at + 86_400_000
    assert asked.properties == {"customer": "17", "order": "x"}
    assert injected().sender == ""


def test_the_parts_of_a_message_of_mailerq_are_composed() -> None:
    parts = {"from": "a@x.test", "to": "list@x.test", "subject": "s", "text": "t"}
    (draft,) = injected(mime=parts).drafts
    assert draft.recipients == ("ann@example.net",)
    assert (read(draft)["To"], read(draft)["Subject"]) == ("list@x.test", "s")


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"recipient": 7}, "recipient"),
        ({"mime": ""}, "mime"),
        ({"mime": {"colour": "x"}}, "mime.colour"),
        ({"ips": ["x"]}, "ips[0]"),
        ({"maxattempts": -1}, "maxattempts"),
        ({"retries": [0]}, "retries"),
        ({"nextattempt": "soon"}, "nextattempt"),
        ({"nextattempt": "9999-12-31 23:59:59"}, "nextattempt"),
        ({"delayed": "2001-01-01 00:00:00"}, "delayed"),
        ({"delayed": "2030-03-18 18:00:00", "nextattempt": "2030-03-18 18:00:00"}, "delayed"),
        ({"maxdelivertime": "2001-01-01 00:00:00"}, "maxdelivertime"),
        ({"smarthost": {"hostname": "x"}}, "smarthost"),
        ({f"own{n}": "x" for n in range(33)}, "body"),
    ],
)
def test_a_value_of_mailerq_that_cannot_be_taken_is_named(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(BadValue) as caught:
        injected(**fields)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Tags", "did you mean tags?"),
        ("tag", "did you mean tags?"),
        ("nextAttempt", "did you mean nextattempt?"),
        ("next_attempt", "did you mean nextattempt?"),
        ("delay", "did you mean nextattempt?"),
        ("send_at", "did you mean nextattempt?"),
        ("envelope_from", "did you mean envelope?"),
        ("max_age", "did you mean maxdelivertime?"),
        ("ip", "did you mean ips?"),
        ("Subject", "did you mean mime?"),
        ("DKIM", "did you mean dkim?"),
        ("Smarthosts", "did you mean smarthost?"),
        ("simulate", "is a field of POST /v1/messages"),
        ("simulated", "is a field of POST /v1/messages"),
        ("tenant", "is a field of POST /v1/messages"),
        ("topic", "is a field of POST /v1/messages"),
        ("metadata", "is a field of POST /v1/messages"),
        ("idempotency_key", "is a header, Idempotency-Key"),
        ("Idempotency-Key", "is a header, Idempotency-Key"),
    ],
)
def test_a_field_that_may_be_meant_as_an_order_is_no_property_of_a_message_of_mailerq(name: str, words: str) -> None:
    with pytest.raises(BadValue) as caught:
        injected(**{name: "x"})
    assert caught.value.field == name
    assert caught.value.reason.startswith(words)


def test_other_fields_are_properties_of_a_message_of_mailerq() -> None:
    names = ("customer", "date", "time", "form", "test", "keys", "id", "order", "campaign", "list", "user_id", "source")
    assert injected(**dict.fromkeys(names, "x")).asked.properties == dict.fromkeys(names, "x")


def test_a_large_attachment_is_decoded_in_pieces_and_padding_stands_at_its_end_only() -> None:
    content = bytes(range(256)) * 4000
    text = base64.b64encode(content).decode()
    value = ATTACHMENTS.read([{"content": text[:76] + "\r\n" + text[76:]}], "attachments")
    assert value[0].content == content
    with pytest.raises(BadValue, match="base64"):
        ATTACHMENTS.read([{"content": "A" * 524_284 + "AA==" + text}], "attachments")
