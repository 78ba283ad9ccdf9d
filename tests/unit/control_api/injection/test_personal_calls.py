"""Calls whose messages are made of data: planned, or refused before anything is queued."""

import email
import email.policy
from email.message import EmailMessage
from typing import Any

import pytest

from control_api.http.problems import Problem
from control_api.injection.aids import Aids, CallAids
from control_api.injection.limits import CallLimits
from control_api.injection.named_templates import NamedTemplates
from control_api.injection.plan import Plan, Planner
from control_api.injection.ready_mime import ReadyMime
from mta.content.author import author_domain
from mta.content.canonical_form import header_fields
from mta.content.templating import CompiledTemplate
from mta.content.tracking_links import TrackingLinks
from mta.model.actor import Actor, ActorKind
from mta.model.errors import BadValue, SealError
from mta.model.ids import MessageId
from mta.model.rules import Kind, Rule, Selectors
from mta.model.settings import SmtpSettings
from mta.model.templates import Template, TemplateParts, TemplateVersion
from tests.support.engagement import TrackingKeys
from tests.support.templates import Templates

LIMITS = CallLimits(recipients=1000, recipients_of_message=100, message=1_000_000, body=2_000_000)
TERMS = {"acme": Rule("t", Selectors(tenant="acme"), kind=Kind.TENANT, vars=(("brand", "Acme"),))}
PLANNER = Planner(LIMITS, ReadyMime(SmtpSettings()), lambda: TERMS)
ADMIN = Actor(ActorKind.TOKEN, "admin")
URL = "https://click.example.com"
LINKS = TrackingLinks(b"k" * 32, URL)
ANN = {"email": "ann@example.net", "name": "Ann", "data": {"name": "Ann & Co"}}
BOB = {"email": "bob@example.net", "data": {"name": "Bob", "shop": "Bob's"}}
BODY: dict[str, Any] = {
    "from": "shop@example.com",
    "to": [ANN, BOB],
    "subject": "Hello {{ name }}",
    "text": "{{ name }} of {{ shop }}",
    "html": "<b>{{ name }}</b>",
    "data": {"shop": "the shop"},
}


NO_PARTS: dict[str, Any] = {"subject": None, "text": None, "html": None}


def planned(named: CompiledTemplate | None = None, links: TrackingLinks | None = None, **fields: Any) -> Plan:
    body = {name: value for name, value in (BODY | fields).items() if value is not None}
    return PLANNER.plan(body, ADMIN, 1_700_000_000_000, Aids(named, links))


def read(plan: Plan) -> list[tuple[str, str, list[str]]]:
    """To, Subject, and the texts of each message."""
    found = []
    for draft in plan.drafts:
        message = email.message_from_bytes(draft.header + draft.rest, policy=email.policy.default)
        texts = [part.get_content().rstrip() for part in message.walk() if not part.is_multipart()]  # type: ignore[attr-defined]
        found.append((str(message["To"]), str(message["Subject"]), texts))
    return found


def test_each_recipient_gets_a_message_of_the_own_data() -> None:
    plan = planned()
    assert read(plan) == [
        ("Ann <ann@example.net>", "Hello Ann & Co", ["Ann & Co of the shop", "<b>Ann &amp; Co</b>"]),
        ("bob@example.net", "Hello Bob", ["Bob of Bob's", "<b>Bob</b>"]),
    ]
    assert [draft.recipients for draft in plan.drafts] == [("ann@example.net",), ("bob@example.net",)]
    assert [place.draft for place in plan.places] == [0, 1]


def test_data_of_the_call_alone_make_one_message() -> None:
    plan = planned(to=["ann@example.net", "bob@example.net"], data={"name": "all", "shop": "x"})
    ((to, subject, _),) = read(plan)
    assert (to, subject) == ("ann@example.net, bob@example.net", "Hello all")
    assert len(read(planned(to=["a@b.test", "c@b.test"], data={"name": "n", "shop": "x"}, separate=True))) == 2


def test_without_data_nothing_is_a_template() -> None:
    ((_, subject, texts),) = read(planned(to="ann@example.net", data=None))
    assert (subject, texts) == ("Hello {{ name }}", ["{{ name }} of {{ shop }}", "<b>{{ name }}</b>"])


def test_a_named_template_takes_the_place_of_the_parts() -> None:
    named = CompiledTemplate(TemplateParts("{{ tenant.brand }}: {{ name }}", "", "<i>{{ name }}</i>"))
    plan = planned(named, subject=None, text=None, html=None, tenant="acme")
    assert [(subject, texts) for _, subject, texts in read(plan)] == [
        ("Acme: Ann & Co", ["<i>Ann &amp; Co</i>"]),
        ("Acme: Bob", ["<i>Bob</i>"]),
    ]


@pytest.mark.parametrize(
    ("fields", "field", "reason"),
    [
        ({"data": None}, "to[0].data", "shop has no value (line 1) in text, for ann@example.net"),
        ({"to": [ANN, "eve@example.net"]}, "to[1].data", "name has no value (line 1) in subject, for eve@example.net"),
        ({"to": "eve@example.net"}, "data", "name has no value (line 1) in subject"),
        ({"text": "{{ name|nothing }}"}, "to[0].data", "filter nothing is unknown (line 1) in text"),
    ],
)
def test_a_name_without_a_value_is_refused_by_recipient_and_name(fields: Any, field: str, reason: str) -> None:
    with pytest.raises(Problem) as refused:
        planned(**fields)
    assert (refused.value.status, refused.value.field) == (422, field)
    assert reason in str(refused.value)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"html": "{% if %}"}, "html"),
        ({"subject": "{{"}, "subject"),
        ({"cc": [ANN]}, "cc[0].data"),
        ({"bcc": "x@y.test"}, "bcc"),
        ({"mime": "Subject: x\r\n\r\nx", "subject": None, "text": None, "html": None}, "mime"),
        ({"to": [ANN | {"data": {"tenant": 1}}]}, "to[0].data.tenant"),
        ({"to": [ANN | {"data": [1]}]}, "to[0].data"),
        ({"data": "x"}, "data"),
        ({"subject": None, "text": None, "html": None}, "text"),
        ({"from": None}, "from"),
    ],
)
def test_a_call_that_makes_no_sense_is_refused_by_field(fields: Any, field: str) -> None:
    with pytest.raises(BadValue) as refused:
        planned(**fields)
    assert refused.value.field == field


def test_parts_beside_a_template_are_refused() -> None:
    with pytest.raises(BadValue, match="beside template"):
        planned(CompiledTemplate(TemplateParts("s")))


def test_an_address_that_cannot_be_used_costs_the_others_nothing() -> None:
    plan = planned(to=[{"email": "nobody", "data": {}}, ANN])
    assert [place.draft for place in plan.places] == [-1, 0]
    assert len(plan.drafts) == 1


def test_in_a_stream_a_name_without_a_value_is_the_problem_of_its_recipient() -> None:
    head = PLANNER.head({name: value for name, value in BODY.items() if name != "to"}, ADMIN, 1)
    read_one = Planner.follow.__get__(PLANNER)
    places = planned().places
    drafts, found = read_one(head, [places[0].addressee, places[1].addressee._replace(data={})])
    assert [place.draft for place in found] == [0, -1]
    assert len(drafts) == 1
    assert "name has no value" in str(found[1].addressee.problem)


def test_messages_of_a_call_have_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("control_api.injection.plan._MOST_MADE", 1000)
    with pytest.raises(Problem) as refused:
        planned()
    assert (refused.value.status, refused.value.field) == (413, "to")


async def test_the_published_version_is_used_and_others_by_number() -> None:
    store = Templates()
    named = NamedTemplates(store)
    template: Template | None = None
    for number in (1, 2, 3):
        was, parts = template, TemplateParts(f"v{number}")
        template = (was or Template("order")).with_draft(TemplateVersion(number, parts.digest, 2, 1, "me"))
        assert await store.put(template, was, parts)
    assert template is not None

    async def subject(**wanted: Any) -> str:
        found = await named.of({"template": {"name": "order"} | wanted}, ADMIN)
        return found.parts.subject

    for wanted in ({}, {"version": 2}, {"version": 9}, {"name": "none"}):
        with pytest.raises(Problem) as refused:
            await subject(**wanted)
        assert (refused.value.status, refused.value.field) == (422, "template")
    for number in (1, 2):
        was, template = template, template.with_published(number, 7)
        assert await store.put(template, was)
        assert await subject() == f"v{number}"
    assert await subject(version=1) == "v1"
    with pytest.raises(BadValue):
        await named.of({"template": {"name": "order", "x": 1}}, ADMIN)
    own = Template("order", "acme").with_draft(TemplateVersion(1, "own", 2, 1, "me")).with_published(1, 7)
    assert await store.put(own, None, TemplateParts("acme's"))
    bound = Actor(ActorKind.TOKEN, "crm", tenant="acme")
    assert (await named.of({"template": "order"}, bound)).parts.subject == "acme's"
    assert (await named.of({"template": "order", "tenant": "acme"}, ADMIN)).parts.subject == "acme's"
    assert await subject() == "v2"


async def tracked(**fields: Any) -> list[EmailMessage]:
    """The messages of a tracked call; the n-th has the id n."""
    plan = planned(links=LINKS, **({"track": True} | fields))
    drafts = [
        draft if draft.finish is None else draft.finish(MessageId(bytes([number]) * 16))
        for number, draft in enumerate(plan.drafts)
    ]
    found = [email.message_from_bytes(one.header + one.rest, policy=email.policy.default) for one in drafts]
    return [one for one in found if isinstance(one, EmailMessage)]


def html_of(message: EmailMessage) -> str:
    part = message.get_body(("html",))
    assert part is not None
    return str(part.get_content())


async def test_tracked_messages_have_links_and_pixels_of_their_own() -> None:
    page = '<p>{{ name }} <a href="https://shop.example/?a=1&amp;b=2">shop</a></p>'
    found = await tracked(html=page, tags=["news"], tenant="acme")
    mails = []
    for message in found:
        html = html_of(message)
        mail, _, link = html.partition(f"{URL}/c/")[2].partition('"')[0].partition("/")
        assert LINKS.read_link(mail, link) == "https://shop.example/?a=1&b=2"
        assert f'<img src="{URL}/o/{mail}.gif"' in html
        mails.append(LINKS.read_mail(mail))
        assert " of " in str(message.get_body(("plain",)))
    assert [(one.id, one.recipient, one.domain, one.tenant, one.tags) for one in mails if one is not None] == [
        (bytes([number]) * 16 + b"\0\1", f"{name}@example.net", "example.net", "acme", ("news",))
        for number, name in enumerate(("ann", "bob"))
    ]


async def test_opens_and_clicks_are_asked_for_one_by_one_and_need_no_data() -> None:
    page = '<a href="https://shop.example/">{{ shop }}</a>'
    fields: dict[str, Any] = {"to": "ann@example.net", "data": None, "html": page}
    (opens,) = await tracked(**fields, track={"clicks": False})
    (clicks,) = await tracked(**fields, track={"opens": False})
    assert ('href="https://shop.example/"' in html_of(opens), "/o/" in html_of(opens)) == (True, True)
    assert (f'href="{URL}/c/' in html_of(clicks), "/o/" in html_of(clicks)) == (True, False)
    assert "{{ shop }}" in html_of(clicks), "without data nothing is a template"
    (text,) = await tracked(to="ann@example.net", data=None, html=None)
    assert not text.is_multipart()


async def test_a_call_that_cannot_be_tracked_is_refused() -> None:
    with pytest.raises(Problem) as several:
        planned(links=LINKS, track=True, to=["a@b.test", "c@b.test"], data=None)
    assert (several.value.status, several.value.field) == (422, "track")
    with pytest.raises(BadValue) as refused:
        planned(links=LINKS, track=True, **NO_PARTS | {"to": "a@b.test", "mime": "Subject: x\r\n\r\nx", "data": None})
    assert refused.value.field == "mime"
    off = CallAids(Templates(), TrackingKeys(), "")
    with pytest.raises(Problem) as problem:
        await off.of({"track": True}, ADMIN)
    assert (problem.value.status, problem.value.field) == (422, "track")
    assert await off.of({"track": False}, ADMIN) == Aids()
    assert (await CallAids(Templates(), TrackingKeys(), URL).of({"track": {"opens": True}}, ADMIN)).links is not None
    with pytest.raises(Problem) as problem:
        await CallAids(Templates(), TrackingKeys(SealError("no key")), URL).of({"track": True}, ADMIN)
    assert problem.value.status == 503
    with pytest.raises(BadValue):
        await off.of({"track": "yes"}, ADMIN)


@pytest.mark.parametrize(
    "fields",
    [
        {"from": {"email": "shop@example.com", "name": "Shop"}, "subject": "s", "text": "t"},
        {"from": "shop@example.com", "subject": "s", "text": "{{ a }}", "data": {"a": "1"}},
        {"envelope_from": "", "mime": "From: shop@example.com\r\nSubject: s\r\n\r\nt\r\n"},
    ],
    ids=["parts", "data", "mime"],
)
def test_unsubscribe_needs_a_message_that_is_signed(fields: dict[str, Any]) -> None:
    asked: list[tuple[str, str]] = []

    def would_sign(header: bytes, tenant: str) -> bool:
        found = header_fields(header)
        assert found is not None
        asked.append((author_domain(found[b"from"]), tenant))
        return len(asked) < 3

    planner = Planner(LIMITS, ReadyMime(SmtpSettings()), dict, would_sign)
    body, aids = fields | {"unsubscribe": True, "tenant": "acme"}, Aids(unsubscribe=LINKS)
    planner.plan(body | {"to": "a@x.test"}, ADMIN, 0, aids)
    planner.head(body, ADMIN, 0, aids)
    for refused_call in (planner.plan, planner.head):
        with pytest.raises(Problem) as refused:
            refused_call(body | ({"to": "a@x.test"} if refused_call == planner.plan else {}), ADMIN, 0, aids)
        assert (refused.value.status, refused.value.field) == (422, "unsubscribe")
    assert asked == [("example.com", "acme")] * 4
