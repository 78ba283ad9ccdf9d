"""Parked mail: what Floodgate itself failed to process; raises StoreAway, StoreError."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from mta.model.actor import Actor
from mta.model.ids import DeliveryId
from mta.model.mail import QueueKey, Record
from mta.model.shares import split_share


class ParkedDelivery(NamedTuple):
    """One parked delivery as the store has it."""

    id: DeliveryId
    queue: QueueKey
    share: str
    since: int  # Unix ms
    record: Record | None  # None: there is none, or it cannot be read
    raw: bytes = b""  # the record as the store has it, b"" = there is none

    @property
    def tenant(self) -> str:
        """ "" = it has none, or nobody can tell: where the record cannot be read, its share of the queue says so."""
        return split_share(self.share)[0] if self.record is None else self.record.tenant


class ParkedPlace(NamedTuple):
    """A place in the list of parked mail: behind this delivery."""

    since: int = 0
    id: bytes = b""  # "" = before the first


class ParkedSelection(NamedTuple):
    """Parked mail by id, queue or tenant; None = any."""

    ids: frozenset[DeliveryId] | None = None
    pool: str | None = None
    domain: str | None = None
    tenant: str | None = None

    def has(self, parked: ParkedDelivery) -> bool:
        return (
            self.tenant in (None, parked.tenant)
            and (self.ids is None or parked.id in self.ids)
            and self.pool in (None, parked.queue.pool)
            and self.domain in (None, parked.queue.domain)
        )


class ParkedPage(NamedTuple):
    """Some of the parked mail, oldest first; `behind` is None at the end of the list."""

    deliveries: list[ParkedDelivery]
    behind: ParkedPlace | None


class ParkedDone(NamedTuple):
    """The result of an order about parked mail; `rest` is None when nothing is left to look at."""

    done: list[ParkedDelivery]  # that were released or removed
    unreadable: int  # selected deliveries that cannot be released, because they have no record that can be read
    rest: ParkedPlace | None


class PlannedRelease(NamedTuple):
    """One delivery on its way back to its queue; `event` is encoded."""

    parked: ParkedDelivery
    record: Record  # the new one
    event: bytes


class PlannedDrop(NamedTuple):
    """The end of one delivery without a readable record; `event` and `final` are encoded."""

    parked: ParkedDelivery
    event: bytes
    final: bytes


class ParkedStore(Protocol):
    """Parked mail in its lanes."""

    async def behind(self, place: ParkedPlace, most: int) -> list[ParkedDelivery]:
        """The parked deliveries of all lanes behind a place, oldest first, at most `most`."""
        ...

    async def release(self, lane: int, now: int, some: Sequence[PlannedRelease]) -> list[bool]:
        """Make at most 100 deliveries that are still as they were read due at `now`; which of them."""
        ...

    async def drop(self, lane: int, some: Sequence[PlannedDrop]) -> list[bool]:
        """End at most 100 deliveries that are still as they were read, and have no readable record, as canceled; which
        of them."""
        ...


class ParkedMail(Protocol):
    """Parked mail as the API sees it."""

    async def page(self, selection: ParkedSelection, behind: ParkedPlace | None, most: int) -> ParkedPage:
        """A page of it. It may be shorter than `most` when much was looked at."""
        ...

    async def release(self, selection: ParkedSelection, actor: Actor, rest: ParkedPlace, until: float) -> ParkedDone:
        """Selected mail goes back to its queues, due now, as if it had not been parked, from `rest` on until the clock
        shows `until` (monotonic seconds). A delivery without a readable record stays."""
        ...

    async def remove(self, selection: ParkedSelection, actor: Actor, rest: ParkedPlace, until: float) -> ParkedDone:
        """Selected mail ends as canceled, likewise: it is lost."""
        ...
