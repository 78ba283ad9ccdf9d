"""Webhook endpoints as requests order them and as answers show them."""

from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from msgspec import UNSET, Meta, Struct, UnsetType, field

from control_api.schemas import account_values, values
from control_api.schemas.answers import Count, Time
from control_api.schemas.reading import Body
from control_api.schemas.values import Value, a_text
from mta.model.errors import BadValue
from mta.model.webhooks import WebhookEvent, When

_LONGEST_URL: Final = 2000
_MOST_EVENTS: Final = 1000  # of one request
_HOST: Final = r"([a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?\.){1,2}example"


def _read_url(value: Any, field: str) -> str:
    """An absolute URL of HTTP, as a client sends requests to it."""
    if not isinstance(value, str) or not value.isascii() or not value.isprintable() or " " in value:
        raise BadValue(field, 'is not a URL; give one such as "https://hooks.example.com/mail", percent-encoded')
    if len(value) > _LONGEST_URL:
        raise BadValue(field, f"is longer than {_LONGEST_URL} characters")
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        raise BadValue(field, "has a host or a port that is none; correct it") from None
    if parts.scheme not in ("https", "http") or not parts.hostname or port == 0:
        raise BadValue(field, 'is not a URL of HTTP; give one such as "https://hooks.example.com/mail"')
    if parts.username is not None or parts.password is not None:
        raise BadValue(field, "holds a user name; the signature tells an endpoint who sends, so leave it out")
    if parts.fragment:
        raise BadValue(field, "has a fragment (#), which no request carries; leave it out")
    return value


def _read_events(value: Any, field: str) -> tuple[WebhookEvent, ...]:
    """Each once, in the order in which they are defined."""
    items = [value] if isinstance(value, str) else value
    known = frozenset(WebhookEvent)
    if not isinstance(items, list) or not items or not all(isinstance(one, str) and one in known for one in items):
        raise BadValue(field, f"is not a list of types of events; there are {', '.join(WebhookEvent)}")
    return tuple(one for one in WebhookEvent if one in items)


def _read_batch(value: Any, field: str) -> int:
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # 100.0 is a whole number in JSON
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= _MOST_EVENTS:
        raise BadValue(field, f"is not a whole number from 1 to {_MOST_EVENTS}")
    return value


_URL: Final = Value(
    _read_url, a_text(rf"https?://{_HOST}(:[1-9][0-9]{{0,3}})?(/[a-z0-9]{{0,20}}){{0,3}}"), "give a URL"
)
_EVENTS: Final = Value(
    _read_events,
    {"type": "array", "items": {"type": "string", "enum": [event.value for event in WebhookEvent]}, "minItems": 1},
    repeats=True,
)
_BATCH: Final = Value(_read_batch, {"type": "integer", "minimum": 1, "maximum": _MOST_EVENTS})


class NewWebhookBody(Struct, kw_only=True, frozen=True):
    """A new endpoint."""

    url: Annotated[
        str,
        _URL,
        Meta(
            description="where requests go; https:// to public addresses, and both https:// and http:// to those of "
            "webhooks.allow_networks"
        ),
    ]
    events: Annotated[
        tuple[WebhookEvent, ...], _EVENTS, Meta(description="the types of events; default: message:updated")
    ] = (WebhookEvent.MESSAGE_UPDATED,)
    when: Annotated[
        When,
        Meta(description="final: how each delivery ended, and what is learnt later; every: each change of it as well"),
    ] = When.FINAL
    tags: Annotated[
        tuple[str, ...] | None, values.TAGS, Meta(description="only mail with one of these tags; absent: all")
    ] = None
    tenant: Annotated[
        str | None, account_values.TENANT_NAME, Meta(description="only mail of this tenant; absent: all")
    ] = None
    description: Annotated[str | None, values.LINE, Meta(description="for people")] = None
    batch: Annotated[
        int, _BATCH, Meta(description="most events in one request; with more than 1 each request is a batch")
    ] = 1


NEW: Final = Body("NewWebhook", NewWebhookBody, json_only=True)


class ReplayBody(Struct, kw_only=True, frozen=True):
    """Events of the past that are to be sent once more."""

    from_: Annotated[
        str, values.MOMENT, Meta(description="events at this time or later, RFC 3339; as far as history reaches")
    ] = field(name="from")
    until: Annotated[str | None, values.MOMENT, Meta(description="events before this time; default: now")] = None


REPLAY: Final = Body("WebhookReplay", ReplayBody, json_only=True)


class Webhook(Struct, kw_only=True, frozen=True):
    """An endpoint, and how it stands."""

    id: str
    url: str
    events: list[WebhookEvent]
    when: When
    tags: list[str] | UnsetType = UNSET
    tenant: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    batch: Annotated[int, Meta(ge=1)]
    created_at: Time
    created_by: str
    state: Annotated[
        Literal["active", "failing", "disabled", "waiting"],
        Meta(
            description="failing: one request now and then tries whether it answers; waiting: no process serves it, or "
            "history cannot be read"
        ),
    ]
    reason: Annotated[str | UnsetType, Meta(description="of a state other than active")] = UNSET
    node: Annotated[str | UnsetType, Meta(description="the node that serves it")] = UNSET
    backlog: Annotated[
        Count | UnsetType, Meta(description="events not answered yet, and events of history not looked at yet")
    ] = UNSET
    oldest: Annotated[Time | UnsetType, Meta(description="time of the oldest of them")] = UNSET
    failures: Annotated[Count | UnsetType, Meta(description="requests in a row that failed")] = UNSET
    last_success: Time | UnsetType = UNSET
    last_failure: Time | UnsetType = UNSET
    last_failure_reason: str | UnsetType = UNSET
    next_try: Annotated[Time | UnsetType, Meta(description="of a failing endpoint")] = UNSET
    given_up: Annotated[Count | UnsetType, Meta(description="events whose last retry failed")] = UNSET
    lost: Annotated[Count | UnsetType, Meta(description="events that history did not have any more")] = UNSET
    replays: Annotated[bool, Meta(description="whether a replay is under way")]
    disabled_at: Time | UnsetType = UNSET
    old_secret_until: Annotated[
        Time | UnsetType, Meta(description="until then the secret before the last rotation signs along")
    ] = UNSET


class MadeWebhook(Webhook, kw_only=True, frozen=True):
    """An endpoint with its new secret."""

    secret: Annotated[str, Meta(description="verifies the signatures; no answer shows it again")]


class Webhooks(Struct, kw_only=True, frozen=True):
    """A page of endpoints; `cursor` is null on the last page."""

    webhooks: list[Webhook]
    cursor: str | None


class TestResult(Struct, kw_only=True, frozen=True):
    """The end of a test."""

    delivered: Annotated[bool, Meta(description="whether the endpoint answered 2xx")]
    status: Annotated[int | UnsetType, Meta(description="of its answer; absent: there was none")] = UNSET
    reason: Annotated[str | UnsetType, Meta(description="of a failure")] = UNSET
