"""The application does what its description says, whatever it is sent."""

from collections.abc import Iterator

import pytest
import schemathesis
from aiohttp.test_utils import TestClient
from hypothesis import HealthCheck, settings

from control_api.openapi import document
from tests.support.control_api import BEARER, Cluster, served

SCHEMA = schemathesis.openapi.from_dict(document())


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with served(Cluster()) as address:
        yield address


@SCHEMA.exclude(path="/v1/events").parametrize()
@settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_a8_answers_agree_with_the_description(case: schemathesis.Case, url: str) -> None:
    checks = schemathesis.checks
    case.call_and_validate(
        base_url=url,
        headers=BEARER,
        checks=[
            checks.not_a_server_error,
            checks.status_code_conformance,
            checks.content_type_conformance,
            checks.response_schema_conformance,
        ],
    )


async def test_the_description_is_served_and_names_what_is_routed(api: TestClient) -> None:
    served = await (await api.get("/openapi.json")).json()
    routed = {resource.canonical for resource in api.app.router.resources()} - {"/openapi.json"}
    assert set(served["paths"]) == routed
