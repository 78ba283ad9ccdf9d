"""Each operation of the API, asked by tokens of two tenants with one tag: no answer has a thing of the other (A4)."""

import json
from typing import Any, NamedTuple

import pytest

from control_api.http.operation import Operation
from control_api.operations import operations
from mta.model.scopes import Scope
from tests.scenarios.s40_tokens.conftest import Accounts
from tests.support.node import until
from tests.support.rest import ask, watching

OPERATIONS = {f"{operation.method} {operation.path}": operation for operation in operations()}
TENANT = [name for name, operation in OPERATIONS.items() if operation.for_tenants]
WHOLE = [name for name, operation in OPERATIONS.items() if operation.scope is not None and not operation.for_tenants]
TAG = "spring-sale"


class Account(NamedTuple):
    """A tenant with its token, and an id of each thing that it has."""

    token: dict[str, Any]
    ids: dict[str, str]


def things(place: Accounts, tenant: str) -> Account:
    """Mail and rules of a tenant; each text that is its own has its name."""
    token = place.token("admin", tenant=tenant)
    node, more = place.node, {"X_MQ_Tenant": tenant, "X_MQ_Delayed": "+1h"}
    (message,) = node.send(f"{tenant}@{tenant}.test", (TAG, f"{tenant}-tag"), **more)
    ids = {"$MESSAGE": message}
    for variable, path, body in (
        ("$RULE", "errors", {"code": 554, "tag": f"{tenant}-kept", "description": tenant}),
        ("$PAUSE", "pauses", {"tag": f"{tenant}-paused"}),
    ):
        order = json.dumps(body | {"reason": f"of {tenant}"}).encode()
        status, rule = place.asks(token, "POST", f"/v1/{path}?wait=50s", order)
        assert (status, rule["tenant"]) in ((200, tenant), (201, tenant)), rule
        ids[variable] = rule["id"]
    status, preview = place.asks(token, "POST", "/v1/errors/preview", json.dumps({"tag": f"{tenant}-tag"}).encode())
    assert status in (200, 202), preview
    place.call("PUT", f"/v1/tenants/{tenant}", {"reason": f"of {tenant}"}, (200, 201, 202))
    order = json.dumps({"create": [{"code": 554, "tag": f"{tenant}-set", "reason": f"of {tenant}"}]}).encode()
    status, made = place.asks(token, "POST", "/v1/errors/bulk?wait=50s", order)
    assert status == 200, made
    ids |= {"$TOKEN_ID": token["id"], "$TENANT": tenant, "$PREVIEW": preview["id"], "$SET": made["id"], "$KEY": "none"}
    ids["$LIMIT"] = "lim-0000000000000000"
    order = {"selectors": {"tag": f"{tenant}-tag"}, "metric": "block", "ratio": 0.5, "min": 100, "window": "1h"}
    action = {"code": 554, "reason": f"of {tenant}"}
    for old in place.asks(token, "GET", "/v1/brakes")[1]["brakes"]:  # a tenant has room for some
        place.asks(token, "DELETE", f"/v1/brakes/{old['id']}")
    status, brake = place.asks(token, "POST", "/v1/brakes", json.dumps(order | {"action": action}).encode())
    assert (status, brake["selectors"]["tenant"]) == (201, tenant), brake
    ids["$BRAKE"] = brake["id"]
    ids["$TEMPLATE"] = f"{tenant}-order"
    order = json.dumps({"text": "of {{ name }}", "html": f"of {tenant}"}).encode()
    status, template = place.asks(token, "PUT", f"/v1/templates/{tenant}-order", order)
    assert (status, template["tenant"]) in ((200, tenant), (201, tenant)), template
    ids["$WEBHOOK"] = webhook_of(place, token, tenant)
    return Account(token, ids)


def webhook_of(place: Accounts, token: dict[str, Any], tenant: str) -> str:
    """One for each tenant: a node tries them all."""
    _, found = place.asks(token, "GET", "/v1/webhooks")
    if found["webhooks"]:
        return str(found["webhooks"][0]["id"])
    order = {"url": "https://hooks.example.invalid/", "description": f"of {tenant}"}
    status, made = place.asks(token, "POST", "/v1/webhooks", json.dumps(order).encode())
    assert (status, made["tenant"]) == (201, tenant), made
    return str(made["id"])


def answer_to(place: Accounts, operation: Operation, account: Account, ids: dict[str, str]) -> tuple[int, str]:
    """Status and text of the answer to the example of the operation, with these ids."""
    target = operation.example.target
    for variable, found in ids.items():
        target = target.replace(variable, found)
    assert "$" not in target, "say here which id stands for it"
    body = None if operation.example.body is None else json.dumps(operation.example.body).encode()
    answer = ask(place.api, operation.method, target, body, token=account.token["token"])
    text = answer.body.decode() if isinstance(answer.body, bytes) else json.dumps(answer.body)
    return answer.status, f"{text} {answer.headers}"


@pytest.mark.parametrize("name", TENANT)
def test_a4_a_tenant_meets_nothing_of_another(place: Accounts, name: str) -> None:
    operation = OPERATIONS[name]
    acme, rival = things(place, "acme"), things(place, "rival")
    if "$" in operation.example.target:
        status, text = answer_to(place, operation, acme, rival.ids)
        assert status == 404, text
        assert "of rival" not in text
    status, text = answer_to(place, operation, acme, acme.ids)
    assert status not in (401, 403), text
    assert "rival" not in text
    assert not any(found in text for found in rival.ids.values()), text


@pytest.mark.parametrize("name", WHOLE)
def test_a4_a_matter_of_the_whole_cluster_is_no_tenants(place: Accounts, name: str) -> None:
    acme = things(place, "acme")
    status, text = answer_to(place, OPERATIONS[name], acme, acme.ids)
    assert status == 403, text


@pytest.mark.parametrize("name", [*TENANT, *WHOLE])
def test_a4_the_scope_of_an_operation_is_needed_and_enough(place: Accounts, name: str) -> None:
    operation = OPERATIONS[name]
    assert operation.scope is not None
    variables = (
        "$RULE",
        "$PAUSE",
        "$TOKEN_ID",
        "$TENANT",
        "$PREVIEW",
        "$SET",
        "$KEY",
        "$LIMIT",
        "$BRAKE",
        "$TEMPLATE",
        "$WEBHOOK",
    )
    ids = {"$MESSAGE": "01HF7YAT000000000000000000"} | dict.fromkeys(variables, "none")
    passes = Account(place.token(operation.scope), {})
    others = [scope for scope in Scope if scope not in (operation.scope, Scope.ADMIN)]
    assert answer_to(place, operation, passes, ids)[0] not in (401, 403)
    assert answer_to(place, operation, Account(place.token(*others), {}), ids)[0] == 403


def test_a4_two_tenants_with_one_tag_have_statements_of_their_own(place: Accounts) -> None:
    accounts = {name: Account(place.token("messages:read", "errors:write", tenant=name), {}) for name in ("t1", "t2")}
    for tenant, count in (("t1", 2), ("t2", 3)):
        for number in range(count):
            place.node.send(f"u{number}@{tenant}.test", ("shared",), X_MQ_Tenant=tenant, X_MQ_Delayed="+1h")
    order = json.dumps({"code": 554, "tag": "shared"}).encode()
    status, rule = place.asks(accounts["t1"].token, "POST", "/v1/errors?wait=50s&until=swept", order)
    assert (status, rule["tenant"]) == (201, "t1"), rule
    first = place.asks(accounts["t1"].token, "GET", "/v1/tags/shared")[1]
    second = place.asks(accounts["t2"].token, "GET", "/v1/tags/shared")[1]
    assert (first["accepted"], first["intercepted"]["queued"], first["queued"]) == (2, 2, 0)
    assert (second["accepted"], second["intercepted"]["queued"], second["queued"]) == (3, 0, 3)
    assert (first["rules"], second["rules"]) == ([rule["id"]], [])
    assert place.node.statement("shared")["accepted"] == 5
    status, found = place.asks(accounts["t2"].token, "GET", "/v1/tags?tag=shared&tenant=t1")
    assert (status, found["error"]["field"]) == (403, "tenant")


def test_a4_a_bound_rule_reaches_its_tenant_and_no_more(place: Accounts) -> None:
    token = place.token("errors:write", "errors:read", tenant="t3")

    def order(**rule: Any) -> tuple[int, Any]:
        return place.asks(token, "POST", "/v1/errors?wait=50s", json.dumps({"code": 554} | rule).encode())

    for refused, field in (({"tag": "x", "tenant": "t4"}, "tenant"), ({"code": 250, "tag": "x"}, "code")):
        status, found = order(**refused)
        assert (status, found["error"]["field"]) == (403, field), found
    (mine,) = place.node.send("a@t3.test", ("any",), X_MQ_Tenant="t3", X_MQ_Delayed="+1h")
    (other,) = place.node.send("a@t4.test", ("any",), X_MQ_Tenant="t4", X_MQ_Delayed="+1h")
    status, rule = order(everything=True)
    assert (status, rule["tenant"]) == (201, "t3"), rule
    place.complete(rule)
    assert place.call("GET", f"/v1/messages/{mine}")["status"] == "UNDELIVERABLE"
    assert place.call("GET", f"/v1/messages/{other}")["status"] == "DELAYED"
    status, edited = place.asks(token, "PATCH", f"/v1/errors/{rule['id']}?wait=50s", b'{"code": 250}')
    assert (status, edited["error"]["field"]) == (403, "code"), edited
    assert place.asks(token, "DELETE", f"/v1/errors/{rule['id']}?wait=50s")[0] == 200
    unbound = place.token("errors:write")
    status, found = place.asks(unbound, "POST", "/v1/errors", b'{"code": 554, "everything": true}')
    assert (status, found["error"]["field"]) == (403, "everything"), found


def test_a4_a_tenant_sees_the_operators_rule_for_its_mail_and_cannot_lift_it(place: Accounts) -> None:
    token = place.token("errors:write", "errors:read", tenant="t5")
    pause = place.call("POST", "/v1/pauses?wait=50s", {"tenant": "t5", "reason": "abuse"})
    assert place.asks(token, "GET", f"/v1/pauses/{pause['id']}")[0] == 200
    assert [one["id"] for one in place.asks(token, "GET", "/v1/pauses")[1]] == [pause["id"]]
    assert place.asks(token, "DELETE", f"/v1/pauses/{pause['id']}")[0] == 403
    assert place.asks(token, "PATCH", f"/v1/pauses/{pause['id']}", b'{"enabled": false}')[0] == 403
    assert place.asks(token, "POST", "/v1/pauses", b'{"everything": true, "enabled": false}')[0] == 403
    place.call("DELETE", f"/v1/pauses/{pause['id']}?wait=50s")


def test_a4_the_stream_of_a_tenant_has_its_events_only(place: Accounts) -> None:
    token = place.token("messages:read", tenant="t6")
    with watching(place.api, "?tag=streamed", token=token["token"]) as stream:
        for tenant in ("t7", "t6"):
            place.node.send(f"a@{tenant}.test", ("streamed",), X_MQ_Tenant=tenant)
        until(lambda: any(kind == "Delivery" for _, kind, _ in stream.events), what="no event came")
    assert {event["tenant"] for _, _, event in stream.events} == {"t6"}
