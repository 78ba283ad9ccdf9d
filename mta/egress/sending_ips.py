"""The sending IP of each new connection of a pool, and the name for its EHLO."""

import ipaddress
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from mta.model.limit_orders import NODE
from mta.model.mail import IpWish
from mta.model.pools import PoolSettings
from mta.model.settings import Settings
from mta.policy.limit_orders import ip_of_order
from mta.policy.pools import normal_ip


class Source(NamedTuple):
    """The local side of a connection; ip "" = the system chooses."""

    ip: str
    ehlo: str


class SendingIps:
    """Takes the IPs of each pool in turn, by weight (smooth weighted round-robin), for each address family alone."""

    def __init__(self, settings: Settings) -> None:
        self._pools: Mapping[str, PoolSettings] = settings.pools
        self._gone: set[str] = set()  # pools that were served and are not any more
        self._node = settings.node.name
        self._default_ehlo = settings.smtp.hostname or settings.node.name
        self._credit: dict[tuple[str, int], dict[str, int]] = {}
        self._turns = 0  # of IPs in place of another one

    def take(self, pools: Mapping[str, PoolSettings]) -> set[str]:
        """Choose by these pools from now on. Returns the names of those that are not as they were."""
        was, self._pools = self._pools, pools
        changed = {name for name in was.keys() | pools.keys() if was.get(name) != pools.get(name)}
        self._gone = (self._gone | was.keys()) - pools.keys()
        self._credit = {key: credit for key, credit in self._credit.items() if key[0] not in changed}
        return changed

    def serves(self, pool: str) -> bool:
        """Whether mail may leave from this pool still."""
        if not self._gone and "@" not in pool:
            return True
        home, _, ip = pool.partition("@")
        if not home:
            return True
        return home not in self._gone and (not ip or ip in self._pools[home].ips)

    def may_use(self, pool: str, ip: str) -> bool:
        """Whether a connection from this IP may carry mail of the pool still."""
        home, _, _ = pool.partition("@")
        settings = self._pools.get(home)
        return home not in self._gone and (settings is None or not settings.ips or ip in map(normal_ip, settings.ips))

    def candidates(self, pool: str, version: int) -> list[Source]:
        """All sources of the pool, the one whose turn it is first. IPv`version` addresses only; 0: those of the family
        that the pool has, IPv4 first."""
        chosen = self.pick(pool, version or 4) or (None if version else self.pick(pool, 6))
        if chosen is None:
            return []
        settings = self._pools.get(pool)
        if not chosen.ip or settings is None:
            return [chosen]
        family = self._credit[pool, ipaddress.ip_address(chosen.ip).version]
        return [chosen, *(Source(ip, chosen.ehlo) for ip in family if ip != chosen.ip)]

    def wished(self, pool: str, wish: IpWish) -> str:
        """The IP of the pool that fulfils the wish, "" = the pool has none."""
        ips = self.of(pool)
        if not wish.avoid:
            return wish.ip if wish.ip in ips else ""
        version = ipaddress.ip_address(wish.ip).version
        others = [ip for ip in ips if ip != wish.ip and ipaddress.ip_address(ip).version == version]
        if not others:
            return ""
        self._turns += 1
        return others[self._turns % len(others)]

    def of(self, pool: str) -> Sequence[str]:
        """The IPs that the settings give the pool."""
        settings = self._pools.get(pool)
        return settings.ips if settings is not None else ()

    def scope_of(self, pool: str, ip: str) -> str:
        """The scope of limits (`policy.shaping.Budget`) for mail of the pool that leaves from this IP."""
        of = ip_of_order(self._pools, pool.partition("@")[0] or pool, ip, self._node)
        return of if of.startswith(NODE) else f"ip:{of}"

    def pick(self, pool: str, version: int) -> Source | None:
        """A source for a connection to an IPv`version` address; None: the pool has no IP of that family."""
        home, _, ip = pool.partition("@")
        if ip:  # the pool of one IP, or mail of a pool with a fixed one
            ehlo = (self._pools[home].ehlo if home in self._pools else "") or self._default_ehlo
            return Source(ip, ehlo) if ipaddress.ip_address(ip).version == version else None
        settings = self._pools.get(pool)
        if settings is None:
            return None if pool in self._gone else Source("", self._default_ehlo)
        ehlo = settings.ehlo or self._default_ehlo
        if not settings.ips:
            return Source("", ehlo)
        credit = self._credit.get((pool, version))
        if credit is None:
            credit = {ip: 0 for ip in settings.ips if ipaddress.ip_address(ip).version == version}
            self._credit[pool, version] = credit
        if not credit:
            return None
        weights = {ip: settings.weights.get(ip, 1) for ip in credit}
        for ip, weight in weights.items():
            credit[ip] += weight
        chosen = max(credit, key=lambda ip: credit[ip])
        credit[chosen] -= sum(weights.values())
        return Source(chosen, ehlo)
