"""The limits of a queue as people read them: value, use, and which of them binds now."""

from typing import Final, NamedTuple

from mta.model.limit_use import LimitUse
from mta.policy.shaping import Plan

_AHEAD_MS: Final = 1000  # instants of a rate are given out that far ahead


class LimitInForce(NamedTuple):
    """One limit of a pool and domain, over all nodes."""

    name: str  # of the setting in [domains."NAME"]
    value: float
    used: int | None = None  # connections that are open or kept free; None: it is a rate
    free_at: int = 0  # Unix ms at which a rate allows the next one, 0 = now
    binds: bool = False  # nothing more can begin now
    words: str = ""  # why, where it binds


def limits_in_force(plan: Plan, use: LimitUse, now: int) -> list[LimitInForce]:
    """Those that are set, at `now` (Unix ms)."""
    found = []
    if plan.connections:
        binds = use.connections >= plan.connections
        words = f"all {plan.connections} connections that its limit allows are in use" if binds else ""
        found.append(LimitInForce("connections", plan.connections, use.connections, binds=binds, words=words))
    for name, per_minute, free_at, noun in (
        ("connections_per_minute", plan.connections_per_minute, use.next_connection, "new connections"),
        ("messages_per_minute", plan.messages_per_minute, use.next_message, "messages"),
    ):
        if per_minute:
            binds = free_at > now + _AHEAD_MS
            words = f"its {per_minute:g} {noun} a minute are used up for now" if binds else ""
            found.append(LimitInForce(name, per_minute, None, free_at if binds else 0, binds, words))
    if plan.messages_per_connection:
        found.append(LimitInForce("messages_per_connection", plan.messages_per_connection))
    return found


def ceiling(limits: list[LimitInForce]) -> LimitInForce | None:
    """The limit that binds now; of several rates the one that binds longest. None: no limit does."""
    return max((limit for limit in limits if limit.binds), key=lambda limit: limit.free_at, default=None)
