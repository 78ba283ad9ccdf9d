"""The description of the API; `tests/scenarios/s39_described` compares it with a node's answers."""

import orjson
from aiohttp.test_utils import TestClient

from control_api.description.document import document
from control_api.operations import operations
from tests.support.control_api import BEARER


async def test_the_description_is_served_and_names_what_is_routed(api: TestClient) -> None:
    served = await (await api.get("/openapi.json")).json()
    routed = {resource.canonical for resource in api.app.router.resources()} - {"/openapi.json"}
    assert set(served["paths"]) == routed


async def test_r10_the_description_needs_no_token_and_json_ends_with_a_newline(stranger: TestClient) -> None:
    answer = await stranger.get("/openapi.json")
    assert answer.status == 200
    assert (await answer.text()).endswith("}\n")
    assert (await (await stranger.get("/v1/errors")).text()).endswith("}\n")
    assert (await (await stranger.get("/v1/errors", headers=BEARER)).text()).endswith("]\n")


def test_r10_the_description_has_what_linters_and_generators_of_clients_ask_for() -> None:
    """redocly's recommended rules, which found nothing in it."""
    found = document()
    assert found["servers"]
    assert found["info"]["license"]["identifier"] == "Apache-2.0"
    groups = {tag["name"] for tag in found["tags"]}
    operations = [
        operation for item in found["paths"].values() for method, operation in item.items() if method != "parameters"
    ]
    names = [operation["operationId"] for operation in operations]
    assert len(set(names)) == len(names) >= 26
    assert {tag for operation in operations for tag in operation["tags"]} == groups
    for operation in operations:
        assert operation["summary"]
        assert {"400", "401", "429", "431"} <= operation["responses"].keys()
    told = orjson.dumps(found).decode()
    assert [name for name in found["components"]["schemas"] if f'schemas/{name}"' not in told] == []


def test_each_body_has_a_name_of_its_own() -> None:
    """A staged release was described with the fields of a release of parked mail."""
    bodies = [operation.body for operation in operations() if operation.body is not None]
    named = {body.name: body for body in bodies}
    assert [body.name for body in bodies if body != named[body.name]] == []
