"""The values of limit orders at a time: in full until their time is over, then back to normal by halves."""

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from mta.model.limit_orders import NODE, LimitOrder, LimitOrders
from mta.model.paths import SendingPath
from mta.model.pools import PoolSettings

STEPS: Final = 10  # in which an order eases
SITE_SCOPE: Final = "site"


class Ordered(NamedTuple):
    """The values of one order now; 0 = no limit."""

    id: str
    closed: bool
    connections: int
    connections_per_minute: float
    messages_per_minute: float
    messages_per_connection: int = 0


Scoped = dict[str, tuple[Ordered, ...]]  # by scope of a budget of the site


def ordered(order: LimitOrder, now: int) -> Ordered | None:
    """The values at `now` (Unix ms); None: the order is over. After `until` the limits double with each tenth of the
    time in which the order eases; a site that was closed opens with one connection."""
    closed, factor = order.closed, 1
    connections = order.connections
    if order.until and now >= order.until:
        if now >= order.over_at:
            return None
        factor = 2 ** (1 + (now - order.until) * STEPS // order.eases_ms)
        if closed:
            closed, connections = False, 1
            factor //= 2
    return Ordered(
        order.id,
        closed,
        connections * factor,
        order.connections_per_minute * factor,
        order.messages_per_minute * factor,
        order.messages_per_connection * factor,
    )


def scope_of(order: LimitOrder) -> str:
    """The scope of the budget that the order is about, see `policy.shaping.Budget`."""
    if order.pool:
        return f"pool:{order.pool}"
    if order.ip:
        return order.ip if order.ip.startswith(NODE) else f"ip:{order.ip}"
    return SITE_SCOPE


def ip_of_order(pools: Mapping[str, PoolSettings], pool: str, ip: str, node: str) -> str:
    """The IP of a limit order about mail of the pool that `node` sends from `ip`."""
    settings = pools.get(pool)
    has_ips = pool.startswith("@") or (settings is not None and bool(settings.ips))
    return ip if has_ips and ip else NODE + node


def in_force(orders: LimitOrders, now: int) -> dict[str, Scoped]:
    """The values of all orders, by site and scope."""
    found: dict[str, Scoped] = {}
    for _, order in sorted(orders.items()):
        values = ordered(order, now)
        if values is not None:
            scoped = found.setdefault(order.site, {})
            scope = scope_of(order)
            scoped[scope] = (*scoped.get(scope, ()), values)
    return found


class Scope(NamedTuple):
    """A part of the mail to a site."""

    site: str
    scope: str

    def has(self, path: SendingPath, node: str) -> bool:
        """Whether mail on this path is in it, where `node` sends it."""
        if path.site != self.site:
            return False
        ip = f"ip:{path.ip}" if path.ip else f"{NODE}{node}"
        return self.scope in (SITE_SCOPE, f"pool:{path.pool}", ip)


def tightened(before: dict[str, Scoped], after: dict[str, Scoped]) -> list[Scope]:
    """The parts whose limits are tighter than before; that of the messages of a connection needs no new slots."""
    return [
        Scope(site, scope)
        for site, scoped in after.items()
        for scope, orders in scoped.items()
        if _is_tighter(before.get(site, {}).get(scope, ()), orders)
    ]


def _is_tighter(before: Iterable[Ordered], after: Iterable[Ordered]) -> bool:
    old, new = _least(before), _least(after)
    return any(one < other for one, other in zip(new, old, strict=True))


def _least(orders: Iterable[Ordered]) -> tuple[float, float, float]:
    closed = any(order.closed for order in orders)
    columns = list(zip(*(order[2:5] for order in orders), strict=True)) or [(), (), ()]
    connections, rate, messages = (
        min((value for value in column if value), default=float("inf")) for column in columns
    )
    return (0 if closed else connections, rate, messages)
