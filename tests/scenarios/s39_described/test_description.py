"""A node with a live worker does what its description says, whatever it is sent: every operation, all checks of
schemathesis. `tests/support/described.py` has each exception by name with its reason."""

import os
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from control_api.description.document import document
from tests.support.node import TOKEN
from tests.support.node_and_sink import NodeAndSink

DOCUMENT = document()
LABELS = [
    f"{method.upper()} {path}" for path, item in DOCUMENT["paths"].items() for method in item if method != "parameters"
]

# A few examples for each operation; more of them, and others each time, with `make fuzz`.
EXAMPLES = int(os.environ.get("EXAMPLES", "0"))
SETTINGS = settings(
    max_examples=EXAMPLES or 3, deadline=None, derandomize=not EXAMPLES, suppress_health_check=list(HealthCheck)
)


@pytest.fixture(scope="module")
def operations(place: NodeAndSink) -> Iterator[Any]:
    # Here, since they import schemathesis, for a second in each process that collects tests.
    from tests.support.described import Operations, patterns_are_read_once
    from tests.support.many_addresses import from_many_addresses

    with from_many_addresses(TOKEN), patterns_are_read_once():
        yield Operations(DOCUMENT, place.api)


@pytest.mark.parametrize("operation", LABELS)
def test_k13_a8_answers_agree_with_the_description(operation: str, operations: Any) -> None:
    operations.ask(operation, SETTINGS)


def test_k13_what_an_answer_names_is_there_until_it_is_removed(operations: Any) -> None:
    """Orders in a row, each with the ids of the answers before."""
    operations.ask_in_a_row(settings(SETTINGS, max_examples=EXAMPLES or 5, stateful_step_count=6))
