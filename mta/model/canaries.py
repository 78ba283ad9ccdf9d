"""A canary order: an order without a rule, which shows how long orders take until they are effective everywhere."""

from typing import Final

import msgspec

SLOW: Final = 1.0  # seconds; a canary that takes longer is told of


class CanaryFlight(msgspec.Struct, frozen=True):
    """One canary order of the cluster."""

    at: int  # when it was given, Unix ms
    seconds: float  # until it was effective everywhere
    node: str  # that gave it
    unconfirmed: tuple[str, ...] = ()  # names of the processes that only the time has stopped

    def trouble(self) -> str:
        """A sentence about what an operator should look at; "" = all is well. It names no process."""
        took = f"the last canary order took {self.seconds:.1f} s until it was effective everywhere"
        if self.unconfirmed:
            return f"{took}, and only the time stopped processes that did not confirm it ({len(self.unconfirmed)})"
        return took if self.seconds > SLOW else ""
