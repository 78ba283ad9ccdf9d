"""The end of a scenario: log lines by recipient, and the whole account of the store."""

from collections import Counter
from typing import Any

from mta.redis_store.checker import Report
from tests.support.node import Node, until
from tests.support.recount import recount

ENDS = ("Delivery", "Bounce", "Expiration", "Intercepted")


def lines(node: Node, recipient: str, *types: str) -> list[dict[str, Any]]:
    """The log's lines about one recipient, Receptions aside; of `types` only, where given."""
    return [
        line
        for line in node.events()
        if line.get("recipient") == recipient and (line["type"] in types if types else line["type"] != "Reception")
    ]


def ended(node: Node, *recipients: str, timeout: float = 60.0) -> dict[str, dict[str, Any]]:
    """The line that ended the mail of each recipient, once there is one for all of them."""

    def look() -> dict[str, dict[str, Any]] | None:
        found = {line["recipient"]: line for line in node.events() if line["type"] in ENDS}
        return found if found.keys() >= set(recipients) else None

    def missing() -> str:
        return f"no end of {sorted(set(recipients) - {e['recipient'] for e in node.events() if e['type'] in ENDS})}"

    try:
        found: dict[str, dict[str, Any]] = until(look, timeout)
    except AssertionError:
        raise AssertionError(f"{missing()}\n{node.errors()}") from None
    return found


def summary(*nodes: Node) -> Counter[str]:
    """How many lines of each type the logs have together."""
    return Counter(line["type"] for node in nodes for line in node.events())


def at_rest(node: Node, **classes: int) -> Report:
    """The store has no broken sentence, its books balance, and its total counts are `classes` (others: none), once
    the last outcomes are in it; the report."""
    beside = ("accepted", "uncertain", "deferred_by_rule", "rejected")
    wanted = {"accepted": sum(n for field, n in classes.items() if field not in beside)} | classes
    wanted = {field: count for field, count in wanted.items() if count}
    reports: list[Report] = []

    def holds() -> bool:
        reports.append(report := recount(node.ready["redis"]))
        return not report.broken and report.balanced and _totals(report) == wanted

    until(holds, what=lambda: f"{reports[-1].broken or reports[-1].counted['']}")
    return reports[-1]


def _totals(report: Report) -> dict[str, int]:
    """Deliveries of each class."""
    total: Counter[str] = Counter()
    for field, count in report.counted[""].items():
        total[field.partition(":")[0]] += count
    return {field: count for field, count in total.items() if count}
