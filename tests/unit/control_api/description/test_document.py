"""The application does what its description says, whatever it is sent."""

import copy
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
import schemathesis
from aiohttp.test_utils import TestClient
from hypothesis import HealthCheck, settings

from control_api.access import tokens as access
from control_api.description.document import document
from tests.support.control_api import BEARER, Cluster, served

SCHEMA = schemathesis.openapi.from_dict(document())


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """An API that does not count requests without a valid token: many come."""
    with pytest.MonkeyPatch.context() as patched, served(Cluster()) as address:
        patched.setattr(access, "FAILURES_PER_MINUTE", 10**9)
        yield address


_ONE_OF = (
    *(("mta", "pool"), ("ip", "domain"), ("mx", "domain"), ("mx", "ip")),
    ("preview_token", "max_matches"),
    *(("duration", "expires_at"), ("duration", "expire"), ("expire", "expires_at")),
    ("domain", "recipient"),  # the recipient must be of the domain
)
_SELECT = ("pool", "mta", "domain", "ip", "mx", "tag", "tenant", "tags_all", "sender", "recipient")


def make_possible(case: schemathesis.Case) -> None:
    """Mends a case that is to be taken where no schema says the condition: fields that exclude each other, times in the
    past, rules that match nothing or everything, and selectors in query and body at once."""
    if case.path == "/v1/errors/bulk":
        make_set_possible(case)
    if case.path == "/v1/tokens" and isinstance(case.body, dict):
        case.body = {**case.body, "expires_at": "+30m"}
    if case.path == "/v1/errors/bulk" or not case.path.startswith(("/v1/errors", "/v1/pauses")):
        return
    lifts = case.method == "DELETE" and "{id}" not in case.path
    if lifts and isinstance(case.body, dict):
        case.query = {name: value for name, value in case.query.items() if name == "wait"}
        agree(case.body)
    elif lifts:
        agree(case.query)
    elif isinstance(case.body, dict):
        agree(case.body, selectors=case.method == "POST" and not case.path.endswith("/convert"))


def make_set_possible(case: schemathesis.Case) -> None:
    """Rules that differ in their selectors; no id is known here that could be removed."""
    create = copy.deepcopy(case.body.get("create") or [{"code": 554, "tag": "a"}])
    for at, rule in enumerate(create):
        agree(rule)
        rule["sender"] = f"{at}@example.net"
        rule.pop("everything", None)
    case.body = {"create": create}


def agree(given: dict[str, Any], selectors: bool = True) -> None:
    for name in [name for name in _SELECT if given.get(name) in (None, "*", ["*"])]:
        given.pop(name, None)
    for one, other in _ONE_OF:
        if given.get(one) is not None and given.get(other) is not None:
            del given[one]
    for name in ("expires_at", "expire", "accepted_before", "accepted_after"):
        if isinstance(given.get(name), str):
            given[name] = "now" if name == "accepted_after" else "+30m"
    if isinstance(given.get("duration"), str):  # ten years at most, which no schema says of a text with a unit
        given["duration"] = "30m"
    if given.get("max_matches") is not None or given.get("preview_token") is not None:
        for name in ("mta", "ip", "mx", "cluster", "enabled"):  # such rules cannot be counted
            given.pop(name, None)
    if selectors:
        given.pop("except_tags", None)
        given.pop("everything", None)
        if not any(name in given for name in _SELECT):
            given["everything"] = "true"


@SCHEMA.exclude(path="/v1/events").parametrize()
@settings(max_examples=10, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_k13_answers_agree_with_the_description(case: schemathesis.Case, url: str) -> None:
    if case.meta is None or case.meta.generation.mode.is_positive:
        make_possible(case)
    answer = case.call(base_url=url, headers=BEARER)
    if answer.status_code != 431:  # a query that is too long is refused before anything is read of it
        case.validate_response(answer)


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
