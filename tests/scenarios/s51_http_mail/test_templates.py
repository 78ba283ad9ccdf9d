"""Mail that is made of templates and data: what each recipient reads, and that a wrong call queues nothing."""

import email
import email.policy
import json

from tests.support.node_and_sink import NodeAndSink
from tests.support.rest import ask

BODY = {"from": "shop@example.com", "tags": ["tpl"]}


def texts(place: NodeAndSink, domain: str) -> dict[str, tuple[str, str, str]]:
    """Recipient -> subject, plain text and HTML, as the standard library reads them."""
    found = {}
    for one in place.taken(domain):
        read = email.message_from_bytes(one.body, policy=email.policy.default)
        bodies = [read.get_body((kind,)) for kind in ("plain", "html")]
        plain, html = ["" if body is None else body.get_content().strip() for body in bodies]
        found[one.recipients[0]] = str(read["Subject"]), plain, html
    return found


def test_a_published_template_makes_the_mail_of_each_recipient(place: NodeAndSink) -> None:
    parts = {"subject": "Bestellung {{ order }} für {{ name }}", "text": "{{ name }}", "html": "<p>{{ name }}</p>"}
    place.call("PUT", "/v1/templates/order", parts)
    to = [{"email": f"{name}@tpl1.test", "data": {"name": name.title() + " & Ö"}} for name in ("ann", "bob")]
    body = BODY | {"to": to, "template": {"name": "order"}, "data": {"order": 17}, "tags": ["tpl1"]}
    refused = place.call("POST", "/v1/messages", body, (422,))
    assert refused["error"]["field"] == "template", refused
    place.call("POST", "/v1/templates/order/publish", {"version": 1})
    answer = place.call("POST", "/v1/messages", body, (202,))
    assert len({one["message_id"] for one in answer["recipients"]}) == 2
    place.call("PUT", "/v1/templates/order", {"subject": "v2"})
    draft = place.call("POST", "/v1/messages", body | {"template": {"name": "order", "version": 2}}, (422,))
    assert "never published" in draft["error"]["message"]
    place.rests("tpl1", accepted=2, delivered=2)
    assert texts(place, "tpl1.test") == {
        f"{name}@tpl1.test": (
            f"Bestellung 17 für {name.title()} & Ö",
            f"{name.title()} & Ö",
            f"<p>{name.title()} &amp; Ö</p>",
        )
        for name in ("ann", "bob")
    }
    place.call("POST", "/v1/templates/order/publish", {})
    place.call("POST", "/v1/messages", body | {"tags": ["tpl2"], "to": "new@tpl2.test"}, (202,))
    place.rests("tpl2", delivered=1)
    assert texts(place, "tpl2.test")["new@tpl2.test"][0] == "v2", "the next call uses what was published"


def test_one_recipient_without_a_value_and_nothing_is_queued(place: NodeAndSink) -> None:
    to = [{"email": f"{n}@tpl3.test", "data": {} if n == 70 else {"name": "x"}} for n in range(100)]
    body = BODY | {"to": to, "subject": "s", "text": "{{ name }}", "tags": ["tpl3"]}
    error = place.call("POST", "/v1/messages", body, (422,))["error"]
    assert (error["field"], "name has no value" in error["message"], "70@tpl3.test" in error["message"]) == (
        "to[70].data", True, True,
    )  # fmt: skip
    assert place.call("GET", "/v1/tags/tpl3")["accepted"] == 0


def test_a_tenants_own_template_and_vars_make_its_mail(place: NodeAndSink) -> None:
    place.call("PUT", "/v1/tenants/tplcorp?wait=50s", {"vars": {"brand": "Corp"}})
    for owner, text in (("", "shared {{ tenant.brand }}"), ("?tenant=tplcorp", "own {{ tenant.brand }}")):
        name = "both" if owner else "shared"
        place.call("PUT", f"/v1/templates/{name}{owner}", {"text": text})
        place.call("POST", f"/v1/templates/{name}/publish{owner}", {})
    token = place.call("POST", "/v1/tokens", {"name": "c", "scopes": ["messages:send"], "tenant": "tplcorp"})["token"]
    for name in ("both", "shared"):
        body = BODY | {"to": f"{name}@tpl4.test", "template": name, "tags": ["tpl4"]}
        answer = ask(place.api, "POST", "/v1/messages", json.dumps(body).encode(), token=token)
        assert answer.status == 202, answer
    place.rests("tpl4", delivered=2)
    found = {to.partition("@")[0]: plain for to, (_, plain, _) in texts(place, "tpl4.test").items()}
    assert found == {"both": "own Corp", "shared": "shared Corp"}


def test_a_stream_of_recipients_with_data(place: NodeAndSink) -> None:
    head = BODY | {"subject": "s", "text": "{{ name }}", "data": {}, "tags": ["tpl5"]}
    lines = [
        head,
        {"email": "a@tpl5.test", "data": {"name": "A"}},
        "b@tpl5.test",
        {"email": "c@tpl5.test", "data": {"name": "C"}},
    ]
    raw = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    answer = ask(place.api, "POST", "/v1/messages", raw, "application/x-ndjson")
    assert answer.status == 202, answer
    found = [json.loads(line) for line in answer.body.splitlines()]
    assert [one.get("error", {}).get("enhanced") for one in found] == [None, "5.6.0", None]
    assert "name has no value" in found[1]["error"]["text"]
    place.rests("tpl5", accepted=2, delivered=2)
    assert {plain for _, plain, _ in texts(place, "tpl5.test").values()} == {"A", "C"}
