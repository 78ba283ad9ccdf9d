"""The ratios to other relays that Floodgate must reach, and those that it reached; made pair by pair."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

CEILING = "direct"
Figures = Mapping[str, float]  # of one repetition and case: the rate by name of the relay
Spread = dict[str, Any]


class Target(NamedTuple):
    """Floodgate's rate in a case as a multiple of another's."""

    case: str
    other: str
    required: float
    goal: float | None = None


TARGETS = (
    Target("4k", "postfix", 5.0, 6.0),
    Target("4k", CEILING, 0.33, 0.4),
    Target("50k", "postfix", 4.0),
    Target("connect", "postfix", 4.0),
    Target("intake", "postfix", 4.0, 6.0),
)


def spread(values: Sequence[float], digits: int = 3) -> Spread:
    """Median, least and most; empty for no values."""
    if not values:
        return {}
    return {
        "median": round(statistics.median(values), digits),
        "least": round(min(values), digits),
        "most": round(max(values), digits),
        "count": len(values),
    }


def ratios(repetitions: Sequence[Figures], one: str, other: str) -> list[float]:
    """`one` over `other` in each repetition that has both: measured next to each other, they share its disturbances."""
    return [rates[one] / rates[other] for rates in repetitions if one in rates and other in rates]


def verdict(target: Target, ratio: Spread) -> str:
    """Of the median; empty where nothing was measured."""
    if not ratio:
        return ""
    if ratio["median"] < target.required:
        return "not reached"
    if target.goal is None:
        return "reached"
    return "reached, and the goal" if ratio["median"] >= target.goal else "reached, not the goal"
