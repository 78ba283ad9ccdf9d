"""The limits of a sending path as people read them: value, use, and which of them binds now."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from mta.model.limit_use import LimitUse
from mta.policy.shaping import Budget, Plan

_AHEAD_MS: Final = 1000  # instants of a rate are given out that far ahead


class LimitInForce(NamedTuple):
    """One limit of one scope, over all nodes."""

    name: str  # of the key of the setting
    setting: str  # the whole key
    scope: str  # of the budget, see policy.shaping; "queue" = of each connection
    value: float
    used: int | None = None  # connections that are open or kept free; None: it is a rate
    free_at: int = 0  # Unix ms at which a rate allows the next one, 0 = now
    binds: bool = False  # nothing more can begin now
    words: str = ""  # why, where it binds


def limits_in_force(plan: Plan, uses: Mapping[Budget, LimitUse], now: int) -> list[LimitInForce]:
    """Those of a plan and of the budgets in `uses` that are set, at `now` (Unix ms)."""
    found: list[LimitInForce] = []
    for budget, use in uses.items():
        found += _of_budget(budget, use, now)
    if plan.messages_per_connection:
        name = "messages_per_connection"
        found.append(LimitInForce(name, f"{plan.carried_setting}.{name}", "queue", plan.messages_per_connection))
    return found


def _of_budget(budget: Budget, use: LimitUse, now: int) -> list[LimitInForce]:
    found, (scope, table) = [], budget[:2]
    if budget.connections:
        binds = use.connections >= budget.connections
        words = f"all {budget.connections} connections that {table} allows are in use" if binds else ""
        found.append(
            LimitInForce(
                "connections", f"{table}.connections", scope, budget.connections, use.connections, 0, binds, words
            )
        )
    for name, per_minute, free_at, noun in (
        ("connections_per_minute", budget.connections_per_minute, use.next_connection, "new connections"),
        ("messages_per_minute", budget.messages_per_minute, use.next_message, "messages"),
    ):
        if per_minute:
            binds = free_at > now + _AHEAD_MS
            words = f"the {per_minute:g} {noun} a minute of {table} are used up for now" if binds else ""
            found.append(
                LimitInForce(name, f"{table}.{name}", scope, per_minute, None, free_at if binds else 0, binds, words)
            )
    return found


def ceiling(limits: list[LimitInForce]) -> LimitInForce | None:
    """The limit that binds now; of several rates the one that binds longest. None: no limit does."""
    return max((limit for limit in limits if limit.binds), key=lambda limit: limit.free_at, default=None)
