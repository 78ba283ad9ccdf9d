"""The audit; raises StoreAway, StoreError."""

from typing import NamedTuple, Protocol

from mta.model.actor import Actor
from mta.model.audit import Deed
from mta.model.events import OrderedEvent
from mta.model.rule_events import RuleEvent


class NotedEvent(NamedTuple):
    """An event of the lane in which orders are noted."""

    entry: str  # of the stream
    event_id: str
    event: OrderedEvent


class OldOrders(Protocol):
    """Events of the rule table's lane that history keeps after the store has dropped them. Raises HistoryError."""

    async def orders(self, below: str, most: int) -> list[NotedEvent]:
        """See Audit.read; about `most` events, and never a part of an entry."""
        ...


class Audit(Protocol):
    """The record of orders. A change of the rule table writes its own entry. Other orders are noted here first, and
    refused where that fails: no change is without an entry."""

    async def note(self, actor: Actor, deed: Deed) -> None: ...

    async def keep_account(self, event: RuleEvent) -> None:
        """Write the account of a rule that was removed into the same lane."""
        ...

    async def read(self, below: str, most: int) -> list[NotedEvent]:
        """The events of the rule table's lane, the newest first: those of at most `most` entries older than the entry
        `below`, "" = of the newest. [] = the end."""
        ...
