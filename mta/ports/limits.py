"""Limit orders, and the use of shared limits; each call raises StoreAway, StoreError."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

from mta.model.limit_orders import LimitOrder, LimitOrders
from mta.model.limit_use import LimitUse, WarmUp

Edit = Callable[[LimitOrder | None], LimitOrder | None]


class LimitReader(Protocol):
    """Reads what workers count."""

    async def use(self, asked: Sequence[tuple[str, str]]) -> list[LimitUse]:
        """Of each of the scopes (site, scope), in order."""
        ...

    async def warm_ups(self, site: str, ips: Sequence[str]) -> Mapping[str, WarmUp]:
        """How far each of the IPs has come with the site, those that have begun."""
        ...


class SharedOrders(NamedTuple):
    """The limit orders of the cluster."""

    version: bytes  # another one with each change
    orders: LimitOrders


class LimitOrderStore(Protocol):
    """Where limit orders are kept for all nodes. A call may be repeated."""

    async def orders(self, since: bytes = b"") -> SharedOrders | None:
        """The orders; None: their version is `since`."""
        ...

    async def edit(self, order_id: str, edit: Edit) -> LimitOrder | None:
        """Keep what `edit` makes of the order of this id (None: there is none), as one change. Where it makes None,
        nothing is changed. Returns what it made. Raises BadValue: there are too many orders."""
        ...

    async def remove(self, order: LimitOrder) -> bool:
        """Whether the order stood so. It may be another one by now, which stays."""
        ...

    def on_change(self, hook: Callable[[], None]) -> None:
        """`hook` is called when the orders may have changed."""
        ...
