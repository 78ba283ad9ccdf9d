"""Templates over REST."""

from typing import Any

import msgspec
import pytest
from aiohttp.test_utils import TestClient

from mta.model.rules import Kind, Rule, Selectors
from mta.model.scopes import Scope
from tests.support.control_api import Cluster

PARTS = {"subject": "Order {{ order }}", "html": "<p>{{ name }}</p>"}


async def ask(api: TestClient, method: str, path: str, want: int, body: Any = None, **more: Any) -> Any:
    answer = await api.request(method, path, json=body, **more)
    found = await answer.json()
    assert answer.status == want, found
    return found


async def test_a_draft_is_published_rendered_and_removed_with_an_entry_in_the_audit(
    api: TestClient, cluster: Cluster
) -> None:
    made = await ask(api, "PUT", "/v1/templates/order", 201, PARTS)
    assert (made["published"], made["latest"], made["version"], made["subject"]) == (None, 1, 1, PARTS["subject"])
    assert "text" not in made
    same = await ask(api, "PUT", "/v1/templates/order", 200, PARTS)
    assert same["latest"] == 1, "the same parts make no other version"
    newer = await ask(api, "PUT", "/v1/templates/order", 200, {"text": "v2"})
    assert (newer["latest"], newer["text"]) == (2, "v2")
    published = await ask(api, "POST", "/v1/templates/order/publish", 200, {"version": 1})
    assert (published["published"], published["latest"]) == (1, 2)
    assert [one["version"] for one in published["versions"] if "published_at" in one] == [1]
    assert (await ask(api, "GET", "/v1/templates/order?version=1", 200))["html"] == PARTS["html"]
    body = {"data": {"order": 17, "name": "<Ada>"}, "version": 1}
    found = await ask(api, "POST", "/v1/templates/order/render", 200, body)
    assert found == {"version": 1, "subject": "Order 17", "html": "<p>&lt;Ada&gt;</p>"}
    assert (await ask(api, "GET", "/v1/templates", 200))["templates"][0]["name"] == "order"
    await ask(api, "DELETE", "/v1/templates/order", 200)
    await ask(api, "GET", "/v1/templates/order", 404)
    actions = [deed.action for _, deed in cluster.deeds]
    assert actions == ["templates.put", "templates.put", "templates.publish", "templates.remove"]


async def test_without_a_version_the_newest_is_published(api: TestClient) -> None:
    for text in ("one", "two"):
        await ask(api, "PUT", "/v1/templates/news", 201 if text == "one" else 200, {"text": text})
    assert (await ask(api, "POST", "/v1/templates/news/publish", 200, {}))["published"] == 2


@pytest.mark.parametrize(
    ("body", "field", "reason"),
    [
        ({}, "html", "one part at least"),
        ({"text": ""}, "html", "one part at least"),
        ({"html": "{% if %}"}, "html", "line 1"),
        ({"text": "a\n{{ b"}, "text", "line 2"),
        ({"subject": 7}, "subject", "is not a text"),
        ({"body": "x"}, "body", "is not a part of a template"),
    ],
)
async def test_a_wrong_draft_names_the_part(api: TestClient, body: Any, field: str, reason: str) -> None:
    error = (await ask(api, "PUT", "/v1/templates/order", 400, body))["error"]
    assert error["field"] == field
    assert reason in error["message"]
    await ask(api, "GET", "/v1/templates/order", 404)


@pytest.mark.parametrize(
    ("data", "status", "field", "reason"),
    [
        ({"order": 1}, 422, "html", "name has no value"),
        ({"name": "Ada", "order": None}, 422, "subject", "order has no value"),
        ({"loop": 1}, 400, "data.loop", "template language"),
        ([], 400, "data", "is not an object"),
    ],
)
async def test_data_that_make_no_mail_are_refused(
    api: TestClient, data: Any, status: int, field: str, reason: str
) -> None:
    await ask(api, "PUT", "/v1/templates/order", 201, PARTS)
    error = (await ask(api, "POST", "/v1/templates/order/render", status, {"data": data}))["error"]
    assert error["field"] == field
    assert reason in error["message"]


async def test_versions_and_names_that_are_not_there(api: TestClient) -> None:
    await ask(api, "PUT", "/v1/templates/order", 201, PARTS)
    error = (await ask(api, "POST", "/v1/templates/order/publish", 404, {"version": 3}))["error"]
    assert error["message"] == "template order has no version 3; there are 1"
    await ask(api, "POST", "/v1/templates/none/publish", 404, {})
    error = (await ask(api, "PUT", "/v1/templates/%2Fetc", 400, PARTS))["error"]
    assert error["field"] == "name"


async def test_a_token_of_a_tenant_works_on_its_own_templates(api: TestClient, cluster: Cluster) -> None:
    await ask(api, "PUT", "/v1/templates/order", 201, {"text": "the operator's"})
    await ask(api, "PUT", "/v1/templates/other?tenant=initech", 201, {"text": "initech's"})
    token = cluster.give_token(Scope.TEMPLATES_READ, Scope.TEMPLATES_WRITE, tenant="acme")
    await ask(api, "GET", "/v1/templates/order", 404, headers=token)
    await ask(api, "GET", "/v1/templates/other?tenant=initech", 404, headers=token)
    made = await ask(api, "PUT", "/v1/templates/order", 201, {"text": "acme's"}, headers=token)
    assert made["tenant"] == "acme"
    assert cluster.templates.bound == {("order", "acme")}, "the share of a tenant bounds its own tokens alone"
    assert [one["name"] for one in (await ask(api, "GET", "/v1/templates", 200, headers=token))["templates"]] == [
        "order"
    ]
    assert (await ask(api, "GET", "/v1/templates/order", 200))["text"] == "the operator's"
    assert (await ask(api, "GET", "/v1/templates/order?tenant=acme", 200))["text"] == "acme's"
    await ask(api, "DELETE", "/v1/templates/order", 200, headers=token)
    assert (await ask(api, "GET", "/v1/templates/order", 200))["text"] == "the operator's"


async def test_a_tenants_vars_are_there_when_its_template_is_rendered(api: TestClient, cluster: Cluster) -> None:
    cluster.rules["t1"] = Rule("t1", Selectors(tenant="acme"), kind=Kind.TENANT, vars=(("brand", "Acme"),))
    cluster.generation += 1
    for tenant, status in (("acme", 200), ("initech", 422)):
        path = f"/v1/templates/order?tenant={tenant}"
        await ask(api, "PUT", path, 201, {"text": "{{ tenant.brand }}"})
        found = await ask(api, "POST", path.replace("?", "/render?"), status, {})
        assert status == 422 or found["text"] == "Acme"


async def test_the_list_has_pages(api: TestClient) -> None:
    for name in ("b", "a", "c"):
        await ask(api, "PUT", f"/v1/templates/{name}", 201, {"text": name})
    first = await ask(api, "GET", "/v1/templates?limit=2", 200)
    assert [one["name"] for one in first["templates"]] == ["a", "b"]
    rest = await ask(api, "GET", f"/v1/templates?limit=2&cursor={first['cursor']}", 200)
    assert ([one["name"] for one in rest["templates"]], rest["cursor"]) == (["c"], None)


async def test_tenants_have_vars(api: TestClient, cluster: Cluster) -> None:
    made = await ask(api, "PUT", "/v1/tenants/acme?wait=0s", 201, {"vars": {"brand": "Acme", "vat": 19, "b2b": True}})
    assert made["vars"] == {"brand": "Acme", "vat": 19, "b2b": True}
    (rule,) = cluster.rules.values()
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(rule), type=Rule) == rule
    for wrong, field in (({"1": "x"}, "vars.1"), ({"a": []}, "vars.a"), ({"a": "x\ny"}, "vars.a"), ([], "vars")):
        error = (await ask(api, "PUT", "/v1/tenants/acme?wait=0s", 400, {"vars": wrong}))["error"]
        assert error["field"] == field
