"""Events as webhooks tell them, their signatures, and the pauses between tries."""

import json
import time

import pytest
from standardwebhooks import Webhook

from mta.model.actor import Actor, ActorKind
from mta.model.audit import Deed, deed_event
from mta.model.events import Event, EventType
from mta.model.ids import delivery_id, delivery_text, new_message_id
from mta.model.outcomes import Forced, Stage
from mta.model.rule_events import effective_event
from mta.model.rules import Effective, Rule, Selectors
from mta.model.webhooks import Endpoint, WebhookEvent, When
from mta.policy.webhook_events import FINAL, STEP, Takers, batch_body, body_of, kind_of, test_body
from mta.policy.webhook_retry import RETRIES, is_last, pause_ms
from mta.policy.webhook_signature import SECRET_BYTES, secret_text, signed_headers

test_body.__test__ = False  # type: ignore[attr-defined]

AT = 1_700_000_000_123
ID = delivery_id(new_message_id(0, AT), 1)


def event(kind: EventType, **more: object) -> Event:
    return Event(kind, AT, ID, recipient="a@b.test", **({"seq": 2} | more))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("found", "kind"),
    [
        (event(EventType.DELIVERY, route="mx"), FINAL),
        (event(EventType.DELIVERY, route="relay:hub"), FINAL),
        (event(EventType.BOUNCE), FINAL),
        (event(EventType.INTERCEPTED), FINAL),
        (event(EventType.CANCELLATION), FINAL),
        (event(EventType.EXPIRATION), FINAL),
        (event(EventType.FILTERED), FINAL),
        (event(EventType.THROTTLED), FINAL),
        (event(EventType.SIMULATED), FINAL),
        (event(EventType.LATE_OUTCOME, code=250), FINAL),
        (event(EventType.LATE_OUTCOME, code=550), ""),
        (event(EventType.RECEPTION), STEP),
        (event(EventType.HOLD), STEP),
        (event(EventType.RELEASE), STEP),
        (event(EventType.TRANSIENT_FAILURE), STEP),
        (event(EventType.REINSTATED), STEP),
        (event(EventType.REJECTION, seq=0), ""),
        (event(EventType.ESCAPED), ""),
        (Event(EventType.RULE, AT, reason="effective"), WebhookEvent.RULE_EFFECTIVE),
        (Event(EventType.RULE, AT, reason="completed"), WebhookEvent.RULE_COMPLETED),
        (Event(EventType.RULE, AT, reason="put by admin"), ""),
        (Event(EventType.AUDIT, AT, properties={"action": "brake.pull"}), WebhookEvent.BRAKE_PULLED),
        (Event(EventType.AUDIT, AT, properties={"action": "token.create"}), ""),
        (Event(EventType.GAP, AT), ""),
    ],
)
def test_each_event_is_told_as_the_end_of_a_delivery_as_a_step_or_not(found: Event, kind: str) -> None:
    assert kind_of(found) == kind


def endpoint(**more: object) -> Endpoint:
    given = {"id": "w", "url": "https://a.test", "secret": b"", "events": (WebhookEvent.MESSAGE_UPDATED,)}
    return Endpoint(**(given | more))  # type: ignore[arg-type]


def test_an_event_goes_to_the_endpoints_whose_filters_take_it() -> None:
    takers = Takers(
        [
            (endpoint(), "all"),
            (endpoint(when=When.EVERY), "every"),
            (endpoint(tags=("red", "blue")), "red or blue"),
            (endpoint(tenant="acme"), "acme"),
            (endpoint(tenant="acme", tags=("red",)), "acme's red"),
            (endpoint(events=(WebhookEvent.RULE_EFFECTIVE,)), "rules"),
        ]
    )
    plain = event(EventType.DELIVERY, route="mx")
    assert takers.of(FINAL, plain) == ["all", "every"]
    assert takers.of(STEP, plain) == ["every"]
    red = event(EventType.DELIVERY, tags=("red", "blue"), tenant="acme")
    assert takers.of(FINAL, red) == ["all", "every", "acme", "red or blue", "acme's red"]
    rivals = event(EventType.DELIVERY, tags=("red",), tenant="rival")
    assert takers.of(FINAL, rivals) == ["all", "every", "red or blue"]
    assert takers.of(WebhookEvent.RULE_EFFECTIVE, Event(EventType.RULE, AT, tags=("green",))) == ["rules"]
    assert Takers([(endpoint(), "one"), (endpoint(), "two")]).of(FINAL, red) == ["one", "two"]


def test_data_is_the_record_as_of_the_event() -> None:
    told = json.loads(
        body_of(
            FINAL,
            event(
                EventType.INTERCEPTED, code=554, enhanced="5.7.1", text="stop\u202e", tags=("red",), seq=7,
                forced=Forced("r1", 12, Stage.QUEUED, "ops"), properties={"order": "17"},
            ),
        )
    )  # fmt: skip
    assert told["type"] == "message:updated"
    assert told["timestamp"] == "2023-11-14T22:13:20.123Z"
    data = told["data"]
    assert data["id"] == delivery_text(ID)
    assert (data["status"], data["reason"], data["seq"]) == ("UNDELIVERABLE", "INTERCEPTED", 7)
    assert data["error"] == {"code": 554, "enhanced": "5.7.1", "text": "stop\\u202e"}
    assert data["forced"] == {"rule": "r1", "generation": 12, "stage": "queued", "by": "ops"}
    assert data["metadata"] == {"order": "17"}


def test_a_rule_that_is_effective_is_told_with_its_selectors() -> None:
    rule = Rule("r1", Selectors(tag="red", tenant="acme"), code=554, extended="5.7.1", description="stop")
    effect = Effective(rule="r1", generation=5, effective_at=AT, past_dot=(), confirmed=("s1",), unconfirmed=())
    found = effective_event(rule, effect, False)
    told = json.loads(body_of(kind_of(found), found))
    assert told["type"] == "rule:effective"
    assert told["data"] == {
        "rule": "r1", "generation": 5, "code": 554, "enhanced": "5.7.1", "text": "stop", "tenant": "acme",
        "tags": ["red"], "change": "put", "effective_at": "2023-11-14T22:13:20.123Z", "past_dot": 0,
    }  # fmt: skip


def test_a_pull_is_told_with_its_figures_and_found_by_its_tag() -> None:
    after = {"tag": "red", "metric": "block", "hits": 5, "counted": 10, "ratio": 0.5, "limit": 0.1, "pull": 1}
    deed = Deed("brake.pull", "b1", after=after, reason="tag red: too many")
    found = deed_event(Actor(ActorKind.SYSTEM, "brake:b1"), deed, AT)
    told = json.loads(body_of(kind_of(found), found))
    assert told["data"] == {"brake": "b1", "reason": "brake.pull b1: tag red: too many"} | after
    takers = Takers([(endpoint(events=(WebhookEvent.BRAKE_PULLED,), tags=("red",)), "red")])
    assert takers.of(WebhookEvent.BRAKE_PULLED, found) == ["red"]


def test_signatures_are_verified_by_another_library_with_each_of_the_secrets() -> None:
    secrets = [bytes(range(SECRET_BYTES)), bytes(SECRET_BYTES)]
    body = batch_body([body_of(FINAL, event(EventType.DELIVERY, route="mx"))], AT)
    headers = signed_headers(secrets, "batch_1", int(time.time()), body)
    for secret in secrets:
        assert Webhook(secret_text(secret)).verify(body, headers) == json.loads(body)
    assert secret_text(secrets[0]).startswith("whsec_")


def test_a_pause_grows_has_jitter_and_heeds_the_endpoint() -> None:
    assert [pause_ms(number, 0.0) / 1000 for number in range(1, 12)] == [*RETRIES, RETRIES[-1]]
    assert pause_ms(1, 1.0) == 5500
    assert pause_ms(1, 0.0, 60.0) == 60_000
    assert pause_ms(3, 0.0, 1.0) == 120_000
    assert pause_ms(1, 0.0, 10.0**9) == 28_800_000
    assert [is_last(number) for number in (10, 11)] == [False, True]
