"""Times of the API as Unix seconds, and what a rule's answers must say of one another."""

from datetime import datetime
from typing import Any


def seconds(time: str) -> float:
    """Unix seconds of an RFC 3339 time."""
    return datetime.fromisoformat(time).timestamp()


def assert_accounted(account: dict[str, Any]) -> None:
    """matched = intercepted + delivered.after + deferred + queued + held + other, and the account says so itself."""
    ended = sum(account["intercepted"].values()) + account["delivered"]["after"] + account["deferred"]
    assert account["matched"] == ended + account["queued"] + account["held"] + account["other"], account
    assert account["complete"] is True, account
    assert account["balanced"] is True, account
