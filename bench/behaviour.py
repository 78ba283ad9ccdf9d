"""Behaviour: what the sink does to mail besides taking it at once."""

import hashlib


class Behaviour:
    """Delays and shares; a delivery's lot is drawn from its recipient's number, so it is the same in every run.

    A deferred or stalled delivery is taken at once when it comes again, a refused one is refused again.
    """

    def __init__(
        self,
        *,
        defer: float = 0.0,
        refuse: float = 0.0,
        stall: float = 0.0,
        stall_seconds: float = 5.0,
        delay: float = 0.0,
        seed: int = 1,
    ) -> None:
        """Shares are fractions of one; `delay`: seconds before each reply to a dot."""
        self.stall_seconds = stall_seconds
        self.delay = delay
        self.draws = bool(defer or refuse or stall)
        self._lots = (("defer", defer), ("refuse", defer + refuse), ("stall", defer + refuse + stall))
        self._seed = seed.to_bytes(8, "little", signed=True)
        self._came_before: set[bytes] = set()

    def at_dot(self, recipients: list[bytes]) -> str:
        """ "", "defer", "refuse" or "stall": the lot of the first recipient is the lot of all."""
        if not recipients:
            return ""
        drawn = self._draw(recipients[0])
        lot = next((name for name, below in self._lots if drawn < below), "")
        if lot in ("", "refuse"):
            return lot
        if recipients[0] in self._came_before:
            return ""
        self._came_before.update(recipients)
        return lot

    def _draw(self, recipient: bytes) -> float:
        digest = hashlib.blake2b(recipient, digest_size=8, key=self._seed).digest()
        return int.from_bytes(digest, "little") / 2**64
