"""The warm-up of a sending IP: how many messages it may send to one site on each day that counts."""

from collections.abc import Mapping, Sequence
from typing import Final

from mta.model.limit_use import WarmUp
from mta.model.pools import PoolSettings
from mta.policy.limits_in_force import LimitInForce

DAY_MS: Final = 86_400_000
_MOST_AT_ONCE: Final = 100
_PART: Final = 20  # one in so many messages of a day is handed out at a time


def date_of(now: int) -> int:
    """Days since 1970; `now` is Unix ms."""
    return now // DAY_MS


def allowance(schedule: Sequence[int], day: int) -> int | None:
    """Messages of that day; None: the IP is warm."""
    return schedule[day - 1] if day <= len(schedule) else None


def slice_of(messages: int) -> int:
    """How many of the messages of a day a process takes at a time."""
    return max(1, min(_MOST_AT_ONCE, messages // _PART))


def warm_up_limits(
    name: str, pool: PoolSettings, ips: Sequence[str], states: Mapping[str, WarmUp], now: int
) -> list[LimitInForce]:
    """Of each of the IPs that is warming up, `now` in Unix ms. They bind where none of the IPs can send more today."""
    date, found = date_of(now), []
    for ip in ips:
        state = states.get(ip, WarmUp(date=date)).on(date)
        messages = None if ip in pool.warm else allowance(pool.warmup, state.day)
        if messages is not None:
            words = f"day {state.day} of the warm-up of {ip} allows {messages} messages"
            limit = LimitInForce("warmup", f"pools.{name}.warmup", f"ip:{ip}", messages, state.taken, 0, False, words)
            found.append(limit._replace(free_at=(date + 1) * DAY_MS) if state.taken >= messages else limit)
    spent = len(found) == len(ips) and all(limit.free_at for limit in found)
    return [limit._replace(binds=spent, words=limit.words if spent else "") for limit in found]
