"""The rate of requests of each token: reads and orders have budgets of their own, so that no list delays an order."""

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


class Rates:
    """The budgets of the tokens that this process has seen; those that are full again are dropped."""

    def __init__(self, rate: float, clock: Callable[[], float]) -> None:
        """`rate` in requests a second, for reads and again for orders."""
        self._rate = rate
        self._clock = clock
        self._budgets: dict[tuple[str, bool], Budget] = {}
        self._most = 1024

    def take(self, token: str, is_order: bool) -> None:
        """Raises Problem 429."""
        now, key = self._clock(), (token, is_order)
        budget = self._budgets.get(key)
        if budget is None:
            self._prune(now)
            budget = self._budgets[key] = Budget(self._rate, now)
        wait = budget.take(self._rate, now)
        if wait:
            what = "orders" if is_order else "reads"
            words = f"the token has used up its {self._rate:g} {what} a second (api.token_rate)"
            raise Problem(429, words, headers={"Retry-After": str(max(1, math.ceil(wait)))})

    def _prune(self, now: float) -> None:
        if len(self._budgets) < self._most:
            return
        self._budgets = {key: one for key, one in self._budgets.items() if not one.is_full(self._rate, now)}
        self._most = max(1024, 2 * len(self._budgets))
