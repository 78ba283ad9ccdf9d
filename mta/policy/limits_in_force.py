"""The limits of a sending path as people read them: value, use, and which of them binds now."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from mta.model.limit_use import LimitUse
from mta.policy.shaping import Budget, Plan

_AHEAD_MS: Final = 1000  # instants of a rate are given out that far ahead


class LimitInForce(NamedTuple):
    """One limit of one scope, over all nodes."""

    name: str  # of the key of the setting
    setting: str  # the whole key; or the id of the limit order
    scope: str  # of the budget, see policy.shaping; "queue" = of each connection
    value: float
    used: int | None = None  # connections that are open or kept free; None: it is a rate
    free_at: int = 0  # Unix ms at which a rate allows the next one, 0 = now
    binds: bool = False  # nothing more can begin now
    words: str = ""  # why, where it binds
    order: str = ""  # the id of the limit order that it comes from, "" = a setting


def limits_in_force(plan: Plan, uses: Mapping[Budget, LimitUse], now: int) -> list[LimitInForce]:
    """Those of a plan and of the budgets in `uses` that are set, at `now` (Unix ms)."""
    found: list[LimitInForce] = []
    for budget, use in uses.items():
        found += _of_budget(budget, use, now)
    name, setting = "messages_per_connection", plan.carried_setting
    carried = [("queue", plan.messages_per_connection, setting)] if plan.messages_per_connection else []
    for scope, most, of in (*carried, *plan.carried_by_ip):
        order = "" if "." in of else of
        found.append(LimitInForce(name, order or f"{of}.{name}", scope, most, order=order))
    return found


def _of_budget(budget: Budget, use: LimitUse, now: int) -> list[LimitInForce]:
    found, scope = [], budget.scope
    if budget.closed:
        words = f"the limit order {budget.closed} lets no mail leave"
        found.append(LimitInForce("closed", budget.closed, scope, 0, None, 0, True, words, budget.closed))
    if budget.connections:
        setting, table, order = _named(budget, 0, "connections")
        binds = use.connections >= budget.connections
        words = f"all {budget.connections} connections that {table} allows are in use" if binds else ""
        found.append(
            LimitInForce(
                "connections", setting, scope, budget.connections, use.connections, 0, binds, words, order
            )
        )  # fmt: skip
    for at, name, per_minute, free_at, noun in (
        (1, "connections_per_minute", budget.connections_per_minute, use.next_connection, "new connections"),
        (2, "messages_per_minute", budget.messages_per_minute, use.next_message, "messages"),
    ):
        if per_minute:
            setting, table, order = _named(budget, at, name)
            binds = free_at > now + _AHEAD_MS
            words = f"the {per_minute:g} {noun} a minute of {table} are used up for now" if binds else ""
            found.append(
                LimitInForce(name, setting, scope, per_minute, None, free_at if binds else 0, binds, words, order)
            )
    return found


def _named(budget: Budget, at: int, name: str) -> tuple[str, str, str]:
    """The key of a limit, its table, and the limit order that it comes from."""
    order = budget.by[at]
    return (order, f"the limit order {order}", order) if order else (f"{budget.setting}.{name}", budget.setting, "")


def ceiling(limits: list[LimitInForce]) -> LimitInForce | None:
    """The limit that binds now; of several rates the one that binds longest. None: no limit does."""
    binding = [limit for limit in limits if limit.binds]
    return max(binding, key=lambda limit: (limit.name == "closed", limit.free_at), default=None)
