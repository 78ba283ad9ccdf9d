"""Limit orders: limits of a site that a person or a reaction sets for the whole cluster, for a time or for good."""

import hashlib
from collections.abc import Mapping
from typing import Final

from msgspec import Struct

NODE: Final = "node:"  # begins the name of the IP that the system of a node chooses
SLOW_START: Final = "slow start"  # in place of a reaction's name, and the author: no reaction has such a name


class LimitOrder(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Limits for all mail to a site, for that of one pool, or for that from one sending IP. Times are Unix ms."""

    site: str
    pool: str = ""
    ip: str = ""  # the sending IP, or "node:<name>" = the one that the system of this node chooses
    closed: bool = False  # no mail may leave
    connections: int = 0  # 0 = no limit, as all others
    connections_per_minute: float = 0.0
    messages_per_minute: float = 0.0
    messages_per_connection: int = 0
    since: int = 0
    until: int = 0  # 0 = until it is removed
    eases_ms: int = 0  # how long after `until` the limits take to be back at normal
    by: str = ""
    reason: str = ""
    reaction: str = ""  # the name of the reaction that gave it, "" = a person
    opens_to: int = 0  # of slow start: the path is open again when it has so many connections
    accepted: int = 0  # of slow start: so many were accepted for a whole round before it opened further
    opens_every_ms: int = 0  # of slow start: from one opening to the next

    @property
    def id(self) -> str:
        """One for each author and each part of a site: a person's order replaces the one before it."""
        named = "\0".join((self.reaction, self.site, self.pool, self.ip))
        return "lim-" + hashlib.sha256(named.encode()).hexdigest()[:16]

    @property
    def over_at(self) -> int:
        """0 = never."""
        return self.until + self.eases_ms if self.until else 0


LimitOrders = Mapping[str, LimitOrder]  # by id
