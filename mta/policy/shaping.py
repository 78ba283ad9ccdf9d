"""The limits of mail on its way to a site: connections, rates, messages for each connection, and the retry schedule."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from mta.model.destination_settings import LimitSettings
from mta.model.mail import QueueKey
from mta.model.paths import SendingPath, pool_of
from mta.model.settings import Settings
from mta.policy.name_patterns import NamePatterns

_LONGEST_BACK_OFF = 5.0  # seconds
_MOST_KEPT = 20_000  # plans of queues with limits

SITE_SCOPE = "site"


class Budget(NamedTuple):
    """The limits of one scope of a site, over all processes together; 0 = no limit."""

    scope: str  # "site", "domain:<pool>:<domain>", "ip:<IP>": the name of the budget within its site
    setting: str  # the table that it comes from
    connections: int
    connections_per_minute: float
    messages_per_minute: float


class Plan(NamedTuple):
    """The limits for one queue. The budgets of its sending IPs are in none of these; see `Shaping.budgets`."""

    budgets: tuple[Budget, ...]
    per_ip: LimitSettings | None  # limits of each sending IP
    messages_per_connection: int  # 0 = no limit
    carried_setting: str  # the table that it comes from
    has_domain: bool  # it has limits of the domain's own
    retries: Sequence[float]  # seconds between attempts, the last repeats; () = one attempt only
    max_attempts: int
    back_off: float  # seconds for which a failure to connect is remembered: less than the first retry waits

    @property
    def limits_connections(self) -> bool:
        return any(limit.connections or limit.connections_per_minute for limit in self._limits)

    @property
    def limits_messages(self) -> bool:
        return any(limit.messages_per_minute for limit in self._limits)

    @property
    def limits_ips(self) -> bool:
        """Whether the choice of the sending IP decides which limit holds for a connection."""
        per_ip = self.per_ip
        return per_ip is not None and bool(
            per_ip.connections or per_ip.connections_per_minute or per_ip.messages_per_minute
        )

    @property
    def _limits(self) -> Iterable[Budget | LimitSettings]:
        return (*self.budgets, self.per_ip) if self.per_ip is not None else self.budgets

    @property
    def is_limited(self) -> bool:
        """Whether a limit is shared by all processes."""
        return self.limits_connections or self.limits_messages


class Shaping:
    """The plan of each queue, by its site and its domain."""

    def __init__(self, settings: Settings) -> None:
        self._node = settings.node.name
        self._sites = settings.sites
        self._domains = NamePatterns(
            (name, (f"domains.{_quoted(name)}", limits)) for name, limits in settings.domains.items()
        )
        retries = settings.delivery.retries
        self._default = Plan((), None, 0, "", False, retries, settings.delivery.max_attempts, _back_off(retries))
        self._plans: dict[tuple[QueueKey, str], Plan] = {}
        self._budgets: dict[SendingPath, tuple[Budget, ...]] = {}

    def plan(self, queue: QueueKey, site: str = "") -> Plan:
        """Without `site` only the limits of the domain are in it."""
        site_limits = self._sites.get(site)
        found = self._domains.find(queue.domain)
        if site_limits is None and found is None:
            return self._default
        plan = self._plans.get((queue, site))
        if plan is None:
            budgets: list[Budget] = []
            most: list[tuple[int, str]] = []
            per_ip: LimitSettings | None = None
            retries = self._default.retries
            if site_limits is not None:
                budgets.append(_budget(SITE_SCOPE, f"sites.{site}", site_limits))
                per_ip = site_limits.per_ip
                most.append((site_limits.messages_per_connection, f"sites.{site}"))
                most.append((per_ip.messages_per_connection, f"sites.{site}.per_ip"))
            if found is not None:
                setting, limits = found
                budgets.append(_budget(f"domain:{pool_of(queue.pool)}:{queue.domain}", setting, limits))
                most.append((limits.messages_per_connection, setting))
                retries = limits.retries or retries
            carried, carried_setting = min((one for one in most if one[0]), default=(0, ""))
            plan = self._default._replace(
                budgets=tuple(budget for budget in budgets if any(budget[2:])),
                per_ip=per_ip,
                messages_per_connection=carried,
                carried_setting=carried_setting,
                has_domain=found is not None,
                retries=retries,
                back_off=_back_off(retries),
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
            if plan.per_ip is not None and plan.limits_ips:
                name = f"ip:{path.ip}" if path.ip else f"node:{self._node}"
                found = (*found, _budget(name, f"sites.{path.site}.per_ip", plan.per_ip))
            if len(self._budgets) >= _MOST_KEPT:
                self._budgets.clear()
            self._budgets[path] = found
        return found


def _back_off(retries: Sequence[float]) -> float:
    return min(_LONGEST_BACK_OFF, retries[0] / 2) if retries else _LONGEST_BACK_OFF


def _budget(scope: str, setting: str, limits: LimitSettings) -> Budget:
    return Budget(scope, setting, limits.connections, limits.connections_per_minute, limits.messages_per_minute)


def _quoted(name: str) -> str:
    return f'"{name}"'
