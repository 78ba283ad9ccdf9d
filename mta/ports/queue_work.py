"""Orders of an operator about mail that waits, and the store's part of them; raises StoreAway, StoreError."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from mta.model.mail import QueueKey, QueueShare, Record
from mta.ports.books import QueueCounts
from mta.ports.sweeps import WaitingDelivery


class MailSelection(NamedTuple):
    """Mail by its queue and its labels; None = any."""

    pool: str | None = None
    domain: str | None = None
    tag: str | None = None
    tenant: str | None = None
    site: str | None = None  # of the domain

    def has_queue(self, queue: QueueKey) -> bool:
        """Whether mail of the queue may be selected. The site is another question; see SiteLookup."""
        return self.pool in (None, queue.pool) and self.domain in (None, queue.domain)

    def has(self, record: Record) -> bool:
        """Whether a delivery of a selected queue is selected."""
        return (self.tag is None or self.tag in record.tags) and (self.tenant is None or self.tenant == record.tenant)


class PagePlace(NamedTuple):
    """A place in the list of waiting mail: behind the delivery `id` of this queue that is due at `due_at`; "" = before
    the first delivery of the queue."""

    queue: QueueKey
    due_at: int = 0  # Unix ms
    id: bytes = b""


class WaitingPage(NamedTuple):
    """Some of the mail that waits; `behind` is None at the end of the list."""

    deliveries: list[WaitingDelivery]
    behind: PagePlace | None


class WorkPlace(NamedTuple):
    """How far work on all selected mail has come: everything before this place is done."""

    lane: int = 0
    held: bool = False  # it walks over held deliveries
    name: str = ""  # the place of a queue and its domain, or the pause
    cursor: int = 0


class WorkDone(NamedTuple):
    """The result of one call; `rest` is None when nothing is left to look at."""

    moved: int
    seen: int  # selected deliveries
    kept: int  # of these, the ones that a rule keeps where they are
    rest: WorkPlace | None


class PoolChange(NamedTuple):
    """One delivery on its way to another pool; `event` is encoded."""

    waiting: WaitingDelivery
    record: Record  # the new one
    event: bytes


class QueueWorkStore(Protocol):
    """Waiting mail in order, and the steps that change where and when it waits."""

    async def queues(self, selection: MailSelection) -> list[QueueShare]:
        """The shares of the selected queues that have something queued, in any lane, in order."""
        ...

    async def behind(self, place: PagePlace, shares: Sequence[str], most: int) -> list[WaitingDelivery]:
        """The deliveries of these shares of a queue behind a place, at most `most`, in the order in which they are due;
        those whose record cannot be read are left out."""
        ...

    async def claimed(self) -> list["ClaimedDelivery"]:
        """The deliveries that workers have claimed now, of all queues, except those whose record cannot be read."""
        ...

    async def make_due(self, lane: int, queue: QueueShare, now: int, some: Sequence[WaitingDelivery]) -> int:
        """Make at most 100 deliveries of this share of a queue due at `now` that still wait there for a later time; how
        many. May be repeated."""
        ...

    async def change_pool(
        self, lane: int, pause: str, generation: int, to_pool: str, of: QueueShare, some: Sequence[PoolChange]
    ) -> int | None:
        """Move at most 100 deliveries that are still in this share of a queue (or held by `pause`) to `to_pool`; how
        many. None: decided by a rule table below the lane's barrier, nothing was moved. May be repeated:
        deliveries that were moved are not there any more."""
        ...


class ClaimedDelivery(NamedTuple):
    """A delivery that a worker has claimed."""

    queue: QueueKey
    record: Record


class QueueWork(Protocol):
    """The work itself, as the API sees it."""

    async def waiting(self, selection: MailSelection, behind: PagePlace | None, most: int) -> WaitingPage:
        """A page of queued mail by queue and due time. It may be shorter than `most` when much was looked at."""
        ...

    async def counts(
        self, selection: MailSelection, after: QueueKey | None, most: int
    ) -> tuple[list[QueueCounts], QueueKey | None]:
        """The queues behind `after` that have selected mail, by name, with the counts of that mail alone; and the queue
        to go on behind, None at the end. It reads the mail, so it may give fewer than `most` when much was looked at.
        Parked mail is not counted."""
        ...

    async def retry(self, selection: MailSelection, rest: WorkPlace, until: float) -> WorkDone:
        """Make selected mail that waits for a later attempt due now, from `rest` on, until the clock shows `until`
        (monotonic seconds) or all was looked at. A time that the sender asked for is kept."""
        ...

    async def move(self, selection: MailSelection, to_pool: str, rest: WorkPlace, until: float) -> WorkDone:
        """Move selected queued and held mail to another pool, likewise. Mail that a rule is to end or hold in either
        pool stays where it is."""
        ...
