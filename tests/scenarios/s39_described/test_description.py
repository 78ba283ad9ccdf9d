"""A node with a live worker does what its description says, whatever it is sent: every operation, all checks of
schemathesis. `tests/support/described.py` has each exception by name with its reason."""

import os
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test
from schemathesis.checks import CHECKS, load_all_checks

from control_api.description.document import document
from tests.support.described import HEADERS, Operations, labels, mend
from tests.support.many_addresses import from_many_addresses
from tests.support.node import TOKEN

DOCUMENT = document()
load_all_checks()
ALL_CHECKS = [CHECKS.get_one(name) for name in CHECKS.get_all_names()]


@pytest.fixture(scope="module", autouse=True)
def strangers() -> Iterator[None]:
    with from_many_addresses(TOKEN):
        yield


# A few examples for each operation; more of them, and others each time, with `make fuzz`.
EXAMPLES = int(os.environ.get("EXAMPLES", "0"))
SETTINGS = settings(
    max_examples=EXAMPLES or 3, deadline=None, derandomize=not EXAMPLES, suppress_health_check=list(HealthCheck)
)


@pytest.fixture(scope="module")
def operations() -> Operations:
    return Operations(DOCUMENT)


@pytest.mark.parametrize("operation", labels(DOCUMENT))
def test_k13_a8_answers_agree_with_the_description(operation: str, operations: Operations, place: Any) -> None:
    @SETTINGS
    def answers(case: schemathesis.Case) -> None:
        if case.meta is None or case.meta.generation.mode.is_positive:
            mend(case)
        case.call_and_validate(base_url=place.api, headers=HEADERS, checks=ALL_CHECKS, timeout=60)

    operations.run(operation, answers)


def test_k13_what_an_answer_names_is_there_until_it_is_removed(place: Any) -> None:
    """Orders in a row, each with the ids of the answers before."""

    class Orders(schemathesis.openapi.from_dict(DOCUMENT).as_state_machine()):  # type: ignore[misc]
        def get_call_kwargs(self, case: schemathesis.Case) -> dict[str, Any]:
            return {"base_url": place.api, "headers": HEADERS, "timeout": 60}

        def before_call(self, case: schemathesis.Case) -> None:
            if case.meta is None or case.meta.generation.mode.is_positive:
                mend(case)

        def validate_response(self, response: Any, case: schemathesis.Case, **more: Any) -> None:
            super().validate_response(response, case, additional_checks=ALL_CHECKS, **more)

    run_state_machine_as_test(Orders, settings=settings(SETTINGS, max_examples=EXAMPLES or 5, stateful_step_count=6))
