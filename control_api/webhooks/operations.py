"""The operations on webhook endpoints."""

from typing import Final

from control_api.http.operation import BODY_REFUSALS, Answer, Example, Group, Operation, Parameter
from control_api.schemas import webhook_shapes as shapes
from control_api.schemas.queries import PageQuery
from control_api.webhooks import resource
from mta.model.scopes import Scope

_ID: Final = Parameter("id", {"type": "string", "minLength": 1}, "of the webhook")
_PATH: Final = "/v1/webhooks/{id}"
_NEW: Final = {"url": "https://hooks.example.com/floodgate", "when": "final", "tags": ["spring-sale"]}


def _order(action: str, handler: object, name: str, summary: str, answer: Answer, **more: object) -> Operation:
    return Operation(
        "POST",
        f"{_PATH}/{action}",
        handler,  # type: ignore[arg-type]
        name,
        summary,
        (answer,),
        scope=Scope.WEBHOOKS_WRITE,
        for_tenants=True,
        path_values=(_ID,),
        **({"example": Example(f"/v1/webhooks/$WEBHOOK/{action}"), "refusals": (404,)} | more),  # type: ignore[arg-type]
    )


OPERATIONS: Final = Group(
    "Webhooks",
    "Endpoints that are told of events: signed requests (Standard Webhooks 1.0), in order for each message, repeated "
    "until the endpoint has answered 2xx.",
    (
        Operation(
            "GET",
            "/v1/webhooks",
            resource.list_webhooks,
            "listWebhooks",
            "The endpoints, without their secrets",
            (Answer(200, shapes.Webhooks, "the oldest first"),),
            Example("/v1/webhooks"),
            scope=Scope.WEBHOOKS_READ,
            for_tenants=True,
            query=PageQuery,
        ),
        Operation(
            "POST",
            "/v1/webhooks",
            resource.create_webhook,
            "createWebhook",
            "Make an endpoint, which is told of events from now on",
            (Answer(201, shapes.MadeWebhook, "made; `secret` verifies the signatures, and nothing shows it again"),),
            Example("/v1/webhooks", _NEW, 201),
            scope=Scope.WEBHOOKS_WRITE,
            for_tenants=True,
            refusals=BODY_REFUSALS,
            body=shapes.NEW,
        ),
        Operation(
            "GET",
            _PATH,
            resource.show_webhook,
            "showWebhook",
            "One endpoint",
            (Answer(200, shapes.Webhook, "the endpoint, and how it stands"),),
            Example("/v1/webhooks/$WEBHOOK"),
            scope=Scope.WEBHOOKS_READ,
            for_tenants=True,
            refusals=(404,),
            path_values=(_ID,),
        ),
        _order(
            "test",
            resource.test_webhook,
            "testWebhook",
            "Send the endpoint an event of the type webhook:test, once",
            Answer(200, shapes.TestResult, "the end of that request"),
        ),
        _order(
            "rotate",
            resource.rotate_webhook,
            "rotateWebhook",
            "Give the endpoint a new secret; the old one signs along for 24 hours",
            Answer(200, shapes.MadeWebhook, "`secret` is the new one, which nothing shows again"),
        ),
        _order(
            "enable",
            resource.enable_webhook,
            "enableWebhook",
            "Enable an endpoint that is disabled; it goes on where it stopped",
            Answer(200, shapes.Webhook, "the endpoint"),
        ),
        _order(
            "replay",
            resource.replay_webhook,
            "replayWebhook",
            "Send the events of some time once more, beside those of now",
            Answer(202, shapes.Webhook, "ordered; `replays` is true while it is under way"),
            example=Example("/v1/webhooks/$WEBHOOK/replay", {"from": "2026-01-31T12:00:00Z"}, 202),
            refusals=(*BODY_REFUSALS, 404, 409),
            body=shapes.REPLAY,
        ),
        Operation(
            "DELETE",
            _PATH,
            resource.remove_webhook,
            "removeWebhook",
            "Remove an endpoint: it is told of nothing any more",
            (Answer(200, shapes.Webhook, "removed; the endpoint as it was"),),
            Example("/v1/webhooks/$WEBHOOK"),
            scope=Scope.WEBHOOKS_WRITE,
            for_tenants=True,
            refusals=(404,),
            path_values=(_ID,),
        ),
    ),
)
