import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from bench.books import Books
from bench.plan import CAMPAIGN, customer_of
from bench.processes import RunVoid


class Node:
    """Statements and a log that say what the test wants."""

    def __init__(self, place: Path) -> None:
        self.smtp = ""
        self.logs = [place / "delivery.jsonl"]
        self.tags = {CAMPAIGN: statement(1000, 1000), customer_of(0): statement(20, 20)}  # of a flow before

    def get(self, path: str) -> Any:
        return self.tags[path.removeprefix("/v1/tags/")]

    def family(self) -> list[psutil.Process]:
        return []

    def log(self, kind: str, deliveries: range) -> None:
        with self.logs[0].open("a") as log:
            log.writelines(f'{{"type":"{kind}","id":"M.{number}"}}\n' for number in deliveries)


def statement(accepted: int, delivered: int, intercepted: int = 0, balanced: bool = True) -> dict[str, Any]:
    stages = {"queued": intercepted, "attempt": 0, "before_dot": 0, "door": 0}
    queued = accepted - delivered - intercepted
    return {
        "accepted": accepted,
        "delivered": delivered,
        "intercepted": stages,
        "queued": queued,
        "balanced": balanced,
    }


SENT = {"accepted": 100, "messages": 100}


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def test_a_flow_is_what_was_added_and_each_recipient_counts(node: Node) -> None:
    books = Books(node, 3, 0.0)
    node.tags = {CAMPAIGN: statement(1300, 1300), customer_of(0): statement(26, 26)}
    assert books.statement(SENT, 300, intercepted=False)["accepted"] == 1300
    assert (books.told().accepted, books.told().ended) == (300, 300)


def test_what_was_canceled_is_delivered_or_intercepted(node: Node) -> None:
    books = Books(node, 1, 0.0)
    node.tags = {CAMPAIGN: statement(1100, 1040, 60), customer_of(0): statement(22, 21, 1)}
    assert books.statement(SENT, 40, intercepted=True)["delivered"] == 1040


@pytest.mark.parametrize(
    ("campaign", "customer", "why"),
    [
        (statement(1099, 1099), statement(22, 22), "accepted is 99, not 100"),
        (statement(1100, 1099), statement(22, 22), "delivered is 99, not 100"),
        (statement(1100, 1100, balanced=False), statement(22, 22), "balanced is False"),
        (statement(1100, 1100), statement(22, 21), "of customer_0 is 1, not 2"),
        (statement(1100, 1099, 1), statement(22, 22), "intercepted is True, not False"),
    ],
)
def test_a_statement_that_differs_voids_the_run(
    node: Node, campaign: dict[str, Any], customer: dict[str, Any], why: str
) -> None:
    books = Books(node, 1, 0.0)
    node.tags = {CAMPAIGN: campaign, customer_of(0): customer}
    with pytest.raises(RunVoid, match=why):
        books.statement(SENT, 100, intercepted=False)


def test_a_log_with_a_line_for_each_is_complete(node: Node) -> None:
    books = Books(node, 1, 0.0)
    node.log("Delivery", range(40))
    node.log("Intercepted", range(40, 100))
    assert books.journal_caught_up(40, 60, time.time()) < 5.0


def test_a_log_that_lags_is_waited_for_as_long_as_the_destination_takes(node: Node) -> None:
    books = Books(node, 1, 20.0)
    node.log("Delivery", range(39))
    with pytest.raises(RunVoid, match="has 39 Delivery lines for 39 deliveries, not 40"):
        books.journal_caught_up(40, None, time.time() - 25.5)


@pytest.mark.parametrize("kind", ["Delivery", "Intercepted"])
def test_a_line_too_many_voids_the_run(node: Node, kind: str) -> None:
    books = Books(node, 1, 0.0)
    node.log("Delivery", range(5))
    node.log("Intercepted", range(5, 10))
    node.log(kind, range(20, 21))
    with pytest.raises(RunVoid, match=f"has 6 {kind} lines"):
        books.journal_caught_up(5, 5, time.time())


def test_interceptions_of_other_mail_are_none_of_a_flow_that_was_not_canceled(node: Node) -> None:
    books = Books(node, 1, 0.0)
    node.log("Delivery", range(5))
    node.log("Intercepted", range(50))
    assert books.journal_caught_up(5, None, time.time()) < 5.0
