"""Brakes, their counts, their pulls, and the mail about these; raises StoreAway, StoreError."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

from mta.model.brakes import Brake, Pull
from mta.ports.orders import Orders

RateKey = tuple[str, str]  # id of the brake, and name of the tag's counter


class SharedBrakes(NamedTuple):
    """The brakes of the cluster, by id."""

    version: bytes  # another one with each change
    brakes: Mapping[str, Brake]


class Rate(NamedTuple):
    """The count of one window."""

    hits: int
    counted: int


class BrakeStore(Protocol):
    """A call may be repeated."""

    async def brakes(self, since: bytes = b"") -> SharedBrakes | None:
        """The brakes; None: their version is `since`."""
        ...

    async def add(self, brake: Brake) -> None:
        """Raises BadValue: there are too many."""
        ...

    async def remove(self, brake_id: str) -> None:
        """With all that is known of its pulls. Its rules stay."""
        ...

    async def pulls(self, brake_id: str = "") -> list[Pull]:
        """The last pull of each tag, by one brake or by all."""
        ...

    async def rates(self, asked: Sequence[tuple[RateKey, int]]) -> dict[RateKey, Rate]:
        """The count of each window, over all lanes; `asked` has the milliseconds of a bucket of each."""
        ...

    def on_change(self, hook: Callable[[], None]) -> None:
        """`hook` is called when the brakes may have changed."""
        ...


class BrakeWork(BrakeStore, Protocol):
    """The calls of the process that pulls brakes."""

    async def lead(self, owner: str, seconds: float) -> bool:
        """Whether this process is the one that pulls, for so many seconds from now."""
        ...

    async def touched(self, afresh: bool) -> set[RateKey]:
        """The counters that were changed since the last call; all that have counts where `afresh`."""
        ...

    async def forget_older(self, milliseconds: int) -> None:
        """Counters that were not changed for so long before the newest change are not touched ones any more."""
        ...

    async def clear(self, key: RateKey) -> None:
        """Begin the window anew in all lanes."""
        ...

    async def note(self, pull: Pull) -> Pull:
        """Keep a pull that nobody has noted. The pull of that number, as it was noted first."""
        ...

    async def save(self, pull: Pull) -> None:
        """Keep it as it stands now."""
        ...

    async def forget(self, pull: Pull) -> None: ...


class BrakeOrders(Orders, Protocol):
    """The orders of brakes."""

    async def stop(self) -> None:
        """Follow them no longer."""
        ...


class Alerts(Protocol):
    """Mail to the operators."""

    async def send(self, subject: str, lines: Sequence[str]) -> bool:
        """Whether it was accepted; True where nobody is to be told."""
        ...
