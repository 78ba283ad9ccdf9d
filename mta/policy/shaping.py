"""The limits of mail on its way to a site: connections, rates, messages for each connection, and the retry schedule."""

from collections.abc import Sequence
from typing import NamedTuple

from mta.model.destination_settings import LimitSettings
from mta.model.limit_orders import LimitOrders
from mta.model.mail import QueueKey
from mta.model.paths import SendingPath, pool_of
from mta.model.settings import Settings
from mta.policy.limit_orders import SITE_SCOPE, Ordered, Scope, Scoped, in_force, tightened
from mta.policy.name_patterns import NamePatterns

_LONGEST_BACK_OFF = 5.0  # seconds
_MOST_KEPT = 20_000  # plans of queues with limits


class Budget(NamedTuple):
    """The limits of one scope of a site, over all processes together; 0 = no limit."""

    scope: str  # "site", "domain:<pool>:<domain>", "pool:<pool>", "ip:<IP>": the name of the budget within its site
    setting: str  # the table that it comes from, "" = no table has it
    connections: int
    connections_per_minute: float
    messages_per_minute: float
    closed: str = ""  # the limit order by which nothing may leave
    by: tuple[str, str, str] = ("", "", "")  # the limit orders that give the three values, "" = the table does


class Plan(NamedTuple):
    """The limits for one queue. The budgets of its sending IPs are in none of these; see `Shaping.budgets`."""

    budgets: tuple[Budget, ...]
    per_ip: LimitSettings | None  # limits of each sending IP
    messages_per_connection: int  # 0 = no limit
    carried_setting: str  # the table that it comes from; or the limit order
    has_domain: bool  # it has limits of the domain's own
    retries: Sequence[float]  # seconds between attempts, the last repeats; () = one attempt only
    max_attempts: int
    back_off: float  # seconds for which a failure to connect is remembered: less than the first retry waits
    ip_orders: tuple[Budget, ...] = ()  # of limit orders about single IPs
    carried_by_ip: tuple[tuple[str, int, str], ...] = ()  # likewise: scope, messages for each connection, order
    sooner_ms: int = 0  # mail expires so much sooner than by delivery.max_age
    max_age_ms: int = 0  # and this long after its acceptance or scheduled time, 0 = no time of its own

    @property
    def limits_connections(self) -> bool:
        limits = self._limits
        return bool(limits) and any(one.connections or one.connections_per_minute or one.closed for one in limits)

    @property
    def limits_messages(self) -> bool:
        limits = self._limits
        return bool(limits) and any(limit.messages_per_minute for limit in limits)

    @property
    def limits_ips(self) -> bool:
        """Whether the choice of the sending IP decides which limit holds for a connection."""
        per_ip = self.per_ip
        return bool(self.ip_orders) or (
            per_ip is not None
            and bool(per_ip.connections or per_ip.connections_per_minute or per_ip.messages_per_minute)
        )

    def most_carried(self, ip_scope: str) -> int:
        """Messages for each connection from the IP of this scope, 0 = no limit."""
        most = [of_ip for scope, of_ip, _ in self.carried_by_ip if scope == ip_scope]
        return min((one for one in (self.messages_per_connection, *most) if one), default=0)

    @property
    def _limits(self) -> tuple[Budget, ...]:
        limits = self.budgets + self.ip_orders
        return limits if self.per_ip is None else (*limits, _budget("", "", self.per_ip))

    @property
    def is_limited(self) -> bool:
        """Whether a limit is shared by all processes."""
        return bool(self._limits) and (self.limits_connections or self.limits_messages)

    def asks_like(self, other: "Plan") -> bool:
        """Whether mail by this plan asks for the same kinds of shares as by the other one."""
        return (self.limits_connections, self.limits_messages, self.limits_ips) == (
            other.limits_connections,
            other.limits_messages,
            other.limits_ips,
        )


class Shaping:
    """The plan of each queue, by its site and its domain."""

    def __init__(self, settings: Settings) -> None:
        self._node = settings.node.name
        self._sites = settings.sites
        self._domains = NamePatterns(
            (name, (f"domains.{_quoted(name)}", limits)) for name, limits in settings.domains.items()
        )
        self._max_age = settings.delivery.max_age
        retries = settings.delivery.retries
        self._default = Plan((), None, 0, "", False, retries, settings.delivery.max_attempts, _back_off(retries))
        self._plans: dict[tuple[QueueKey, str], Plan] = {}
        self._budgets: dict[SendingPath, tuple[Budget, ...]] = {}
        self._orders: dict[str, Scoped] = {}

    def adopt(self, orders: LimitOrders, now: int) -> list[Scope] | None:
        """Go by these limit orders as they stand at `now` (Unix ms). Returns the scopes whose limits are tighter; None:
        nothing has changed."""
        found = in_force(orders, now)
        if found == self._orders:
            return None
        before, self._orders = self._orders, found
        self._plans.clear()
        self._budgets.clear()
        return tightened(before, found)

    def plan(self, queue: QueueKey, site: str = "") -> Plan:
        """Without `site` only the settings of the domain are in it."""
        site_limits = self._sites.get(site)
        found = self._domains.find(queue.domain)
        orders = self._orders.get(site) if self._orders else None
        if site_limits is None and found is None and orders is None:
            return self._default
        plan = self._plans.get((queue, site))
        if plan is None:
            budgets: list[Budget] = []
            most: list[tuple[int, str]] = []
            per_ip: LimitSettings | None = None
            retries, max_age = self._default.retries, 0.0
            if site_limits is not None:
                budgets.append(_budget(SITE_SCOPE, f"sites.{site}", site_limits))
                per_ip = site_limits.per_ip
                most.append((site_limits.messages_per_connection, f"sites.{site}"))
                most.append((per_ip.messages_per_connection, f"sites.{site}.per_ip"))
                retries, max_age = site_limits.retries or retries, site_limits.max_age
            if found is not None:
                setting, limits = found
                budgets.append(_budget(f"domain:{pool_of(queue.pool)}:{queue.domain}", setting, limits))
                most.append((limits.messages_per_connection, setting))
                retries, max_age = limits.retries or retries, limits.max_age or max_age
            if orders is not None:
                budgets = [_with_orders(budget, orders.get(budget.scope, ())) for budget in budgets]
                scopes = {budget.scope for budget in budgets}
                for scope in (SITE_SCOPE, f"pool:{pool_of(queue.pool)}"):
                    if scope in orders and scope not in scopes:
                        budgets.append(_with_orders(_nothing(scope), orders[scope]))
                    most += [(order.messages_per_connection, order.id) for order in orders.get(scope, ())]
            carried, carried_setting = min((one for one in most if one[0]), default=(0, ""))
            plan = self._default._replace(
                budgets=tuple(budget for budget in budgets if any(budget[2:6])),
                per_ip=per_ip,
                messages_per_connection=carried,
                carried_setting=carried_setting,
                has_domain=found is not None,
                retries=retries,
                back_off=_back_off(retries),
                ip_orders=() if orders is None else _of_ips(orders),
                carried_by_ip=() if orders is None else _carried_by_ip(orders),
                sooner_ms=int(max(0.0, self._max_age - max_age) * 1000) if max_age else 0,
                max_age_ms=int(max_age * 1000),
            )
            if len(self._plans) >= _MOST_KEPT:
                self._plans.clear()
            self._plans[queue, site] = plan
        return plan

    def budgets(self, path: SendingPath) -> tuple[Budget, ...]:
        """All budgets that mail on this path needs a share of."""
        found = self._budgets.get(path)
        if found is None:
            plan = self.plan(QueueKey(path.pool, path.domain), path.site)
            found = plan.budgets
            if plan.limits_ips:
                name = f"ip:{path.ip}" if path.ip else f"node:{self._node}"
                table = f"sites.{path.site}.per_ip"
                own = _nothing(name) if plan.per_ip is None else _budget(name, table, plan.per_ip)
                own = _with_orders(own, self._orders.get(path.site, {}).get(name, ()))
                found = (*found, own) if any(own[2:6]) else found
            if len(self._budgets) >= _MOST_KEPT:
                self._budgets.clear()
            self._budgets[path] = found
        return found


def _back_off(retries: Sequence[float]) -> float:
    return min(_LONGEST_BACK_OFF, retries[0] / 2) if retries else _LONGEST_BACK_OFF


def _budget(scope: str, setting: str, limits: LimitSettings) -> Budget:
    return Budget(scope, setting, limits.connections, limits.connections_per_minute, limits.messages_per_minute)


def _nothing(scope: str) -> Budget:
    return Budget(scope, "", 0, 0.0, 0.0)


def _of_ips(orders: Scoped) -> tuple[Budget, ...]:
    found = (
        _with_orders(_nothing(scope), some) for scope, some in orders.items() if scope.startswith(("ip:", "node:"))
    )
    return tuple(budget for budget in found if any(budget[2:6]))


def _carried_by_ip(orders: Scoped) -> tuple[tuple[str, int, str], ...]:
    return tuple(
        (scope, order.messages_per_connection, order.id)
        for scope, some in orders.items()
        for order in some
        if order.messages_per_connection and scope.startswith(("ip:", "node:"))
    )


def _with_orders(budget: Budget, orders: Sequence[Ordered]) -> Budget:
    """The least value of each kind, by the table or by an order."""
    for order in orders:
        values, by = list(budget[2:5]), list(budget.by)
        for at, value in enumerate(order[2:5]):
            if value and (not values[at] or value < values[at]):
                values[at], by[at] = value, order.id
        budget = Budget(
            budget.scope,
            budget.setting,
            int(values[0]),
            values[1],
            values[2],
            budget.closed or (order.id if order.closed else ""),
            (by[0], by[1], by[2]),
        )
    return budget


def _quoted(name: str) -> str:
    return f'"{name}"'
