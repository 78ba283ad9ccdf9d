"""Each example of docs/api.md, as its reader types it, is answered as the page says."""

import shlex
from typing import Any

import pytest

from control_api.description.page import command_of
from control_api.http.operation import Operation
from control_api.operations import GROUPS
from tests.support.rest import JSON, Answer, ask
from tests.support.sources import ROOT

OPERATIONS = {operation.name: operation for group in GROUPS for operation in group.operations}
ORDERS = {
    "$RULE": "orderForcedError",
    "$PAUSE": "orderPause",
    "$SET": "changeForcedErrors",
    "$TOKEN_ID": "createToken",
    "$KEY": "createDkimKey",
    "$LIMIT": "putLimit",
    "$BRAKE": "createBrake",
    "$WEBHOOK": "createWebhook",
}


def typed(place: Any, operation: Operation, ids: dict[str, str]) -> Answer:
    """The answer to the command, without curl: its method, its body and its URL."""
    command = command_of(operation)
    for name, value in {"$FLOODGATE_URL": "", **ids}.items():
        command = command.replace(name, value)
    words = shlex.split(command.replace("\\\n", " "))
    method = words[words.index("-X") + 1] if "-X" in words else "GET"
    body = words[words.index("-d") + 1].encode() if "-d" in words else None
    return ask(place.api, method, words[-1], body, JSON)


def lift(place: Any) -> None:
    for name in ("liftForcedErrorBySelectors", "liftPauseBySelectors"):
        assert typed(place, OPERATIONS[name], {}).status in (200, 404)


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_example_runs(place: Any, name: str) -> None:
    operation = OPERATIONS[name]
    assert command_of(operation) in (ROOT / "docs" / "api.md").read_text("utf-8")
    lift(place)
    ids = {}
    if "$MESSAGE" in operation.example.target:
        (ids["$MESSAGE"],) = place.node.send("a@example.net", X_MQ_Delayed="+1h")
    if "$PREVIEW" in operation.example.target:
        ids["$PREVIEW"] = typed(place, OPERATIONS["previewForcedError"], {}).body["id"]
    if "$TENANT" in operation.example.target:
        ids["$TENANT"] = "acme"
        assert ask(place.api, "PUT", "/v1/tenants/acme?wait=50s", b"{}").status in (200, 201)
    if "$TEMPLATE" in operation.example.target:
        ids["$TEMPLATE"] = typed(place, OPERATIONS["putTemplate"], {}).body["name"]
    for variable, order in ORDERS.items():
        if variable in operation.example.target or name.endswith("BySelectors"):
            ids[variable] = typed(place, OPERATIONS[order], {}).body["id"]
    if name in ("showRelease", "stopRelease"):
        assert typed(place, OPERATIONS["releasePause"], ids).status == 200
    try:
        answer = typed(place, operation, ids)
        known = {200} if operation.method == "PUT" else set[int]()  # it was made by another example
        assert answer.status in {operation.example.status} | known, answer.body
    finally:
        for variable, path in (("$RULE", "errors"), ("$PAUSE", "pauses")):
            if variable in ids:
                for kind in (path, "errors"):
                    ask(place.api, "DELETE", f"/v1/{kind}/{ids[variable]}?wait=50s")
        for rule in ask(place.api, "GET", "/v1/errors").body:
            ask(place.api, "DELETE", f"/v1/errors/{rule['id']}?wait=50s")
        for key in ask(place.api, "GET", "/v1/dkim").body["keys"]:
            ask(place.api, "DELETE", f"/v1/dkim/{key['id']}")
        for brake in ask(place.api, "GET", "/v1/brakes").body["brakes"]:
            ask(place.api, "DELETE", f"/v1/brakes/{brake['id']}")
        for webhook in ask(place.api, "GET", "/v1/webhooks").body["webhooks"]:
            ask(place.api, "DELETE", f"/v1/webhooks/{webhook['id']}")
        ask(place.api, "DELETE", "/v1/tenants/acme?wait=50s")
        lift(place)
