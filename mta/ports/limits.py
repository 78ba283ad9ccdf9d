"""The use of shared limits as the API sees it; raises StoreAway, StoreError."""

from collections.abc import Sequence
from typing import Protocol

from mta.model.limit_use import LimitUse
from mta.model.mail import QueueKey


class LimitReader(Protocol):
    """Reads what workers count."""

    async def use(self, queues: Sequence[QueueKey]) -> list[LimitUse]:
        """Of each of the queues, in order."""
        ...
