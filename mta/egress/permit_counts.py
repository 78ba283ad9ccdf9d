"""Counts of missing permits of the rule table, for the metrics."""

from collections import Counter
from typing import Final

from mta.egress.transaction import Transaction
from mta.model import process_metrics as told

BEFORE_MAIL: Final = "mail"
BEFORE_DOT: Final = "dot"


class PermitCounts:
    """Since the start of the process."""

    def __init__(self) -> None:
        self._stops = Counter[str]()
        self.aborts = 0  # transactions that ended because their dot got no permit

    def stopped(self, transaction: Transaction, before: str) -> None:
        """Count a transaction whose MAIL or dot waits for a permit; further looks at the same wait do not count."""
        if transaction.stopped_at != before:
            transaction.stopped_at = before
            self._stops[before] += 1

    def metrics(self) -> dict[str, int]:
        return {
            told.PERMIT_STOPS.of("mail"): self._stops[BEFORE_MAIL],
            told.PERMIT_STOPS.of("dot"): self._stops[BEFORE_DOT],
            told.PERMIT_ABORTS.key: self.aborts,
        }
