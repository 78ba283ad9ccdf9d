"""Suppressions as the API, acceptance and delivery see them."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple, Protocol

from mta.model.ids import DeliveryId
from mta.model.mail import Claimed
from mta.model.suppressions import Suppressed, Suppression, SuppressionKey

SHARES = 256  # parts of the store, by a hash of the subject


class SuppressionHead(NamedTuple):
    """The state of the suppressions in numbers."""

    number: int  # of the last announcement; 0 = there never was a suppression
    removed: int  # suppressions removed so far
    born: bytes  # another one where the store was emptied


class SuppressionPlace(NamedTuple):
    """A place in the list of suppressions: share of the store, its scan cursor, how many of that page were shown."""

    share: int = 0
    cursor: int = 0
    skip: int = 0


class SuppressionPage(NamedTuple):
    """Suppressions that are kept, expired ones among them; `after` None: there are no more."""

    items: Sequence[Suppressed]
    after: SuppressionPlace | None


class SuppressionStore(Protocol):
    """Each call raises StoreAway, StoreError, and may be repeated."""

    async def put(self, items: Sequence[Suppressed]) -> tuple[int, int]:
        """Keep these, in place of those with the same keys: the number of the announcement, and how many are new. Every
        process is told before any is kept, so that none can miss one."""
        ...

    async def remove(self, keys: Collection[SuppressionKey]) -> int:
        """How many there were."""
        ...

    async def find(self, keys: Collection[SuppressionKey]) -> Mapping[SuppressionKey, Suppression]:
        """Those that are kept, expired ones among them."""
        ...

    async def page(self, place: SuppressionPlace, subject: str = "") -> SuppressionPage:
        """Those at the place; `subject` alone where it is given."""
        ...


class ExpiredSuppressions(Protocol):
    """The removal of suppressions that have expired."""

    async def drop_expired(self, now: int) -> int:
        """Take those away that have expired by `now` (Unix ms): how many. Raises StoreError."""
        ...


class SuppressionChanges(Protocol):
    """The announcements of suppressions, as a process follows them. Each call raises StoreAway, StoreError."""

    async def head(self) -> SuppressionHead: ...

    async def announced(self, since: int) -> Sequence[tuple[int, Sequence[int]]] | None:
        """Fingerprints by number of their announcement, behind number `since`; None: some of them are gone."""
        ...

    async def prints(self, share: int, cursor: int) -> tuple[int, Sequence[int]]:
        """Fingerprints of a page of what is kept, and the next cursor, 0 = none."""
        ...

    async def recent(self) -> Sequence[int]:
        """Fingerprints of the announcements of the last seconds: what they announce may not be kept yet."""
        ...

    def on_change(self, hook: Callable[[], None]) -> None:
        """`hook` is called when there may be a new announcement."""
        ...


class WaitingSuppressions(Protocol):
    """The look at deliveries that have waited since they were accepted."""

    @property
    def is_on(self) -> bool:
        """Whether there is any suppression. While there is none, nothing is done for mail."""
        ...

    async def meet(self, claimed: Sequence[Claimed], now: int) -> Mapping[DeliveryId, Suppressed]:
        """Those whose recipients are suppressed at `now` (Unix ms)."""
        ...
