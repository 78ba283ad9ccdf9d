"""The rate of requests of each token: reads, orders and calls that hand mail in have budgets of their own, so that no
list and no mail delays an order."""

import enum
import math
from collections.abc import Callable

from control_api.http.problems import Problem


class Budget:
    """One token bucket: it holds the requests of one second."""

    __slots__ = ("_at", "_left")

    def __init__(self, rate: float, now: float) -> None:
        self._left = max(1.0, rate)
        self._at = now

    def take(self, rate: float, now: float) -> float:
        """0.0: the request may go on; else the seconds until one may."""
        self._left = min(max(1.0, rate), self._left + (now - self._at) * rate)
        self._at = now
        if self._left >= 1.0:
            self._left -= 1.0
            return 0.0
        return (1.0 - self._left) / rate

    def is_full(self, rate: float, now: float) -> bool:
        """Whether it says nothing that a new one would not say."""
        return self._left + (now - self._at) * rate >= max(1.0, rate)


class Use(enum.Enum):
    """The kinds of requests, each with a budget of its own, and the setting of its rate."""

    READ = "reads", "api.token_rate"
    ORDER = "orders", "api.token_rate"
    MAIL = "calls with mail", "api.inject_rate"


class Rates:
    """The budgets of the tokens that this process has seen; those that are full again are dropped."""

    def __init__(self, rate: float, inject_rate: float, clock: Callable[[], float]) -> None:
        """In requests a second: `rate` of reads and again of orders, `inject_rate` of calls that hand mail in."""
        self._of_use = {Use.READ: rate, Use.ORDER: rate, Use.MAIL: inject_rate}
        self._clock = clock
        self._budgets: dict[tuple[str, Use], Budget] = {}
        self._most = 1024

    def take(self, token: str, use: Use) -> None:
        """Raises Problem 429."""
        now, key, rate = self._clock(), (token, use), self._of_use[use]
        budget = self._budgets.get(key)
        if budget is None:
            self._prune(now)
            budget = self._budgets[key] = Budget(rate, now)
        wait = budget.take(rate, now)
        if wait:
            what, setting = use.value
            words = f"the token has used up its {rate:g} {what} a second ({setting})"
            raise Problem(429, words, headers={"Retry-After": str(max(1, math.ceil(wait)))})

    def _prune(self, now: float) -> None:
        if len(self._budgets) < self._most:
            return
        self._budgets = {key: one for key, one in self._budgets.items() if not one.is_full(self._of_use[key[1]], now)}
        self._most = max(1024, 2 * len(self._budgets))
