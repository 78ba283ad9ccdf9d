"""The shares of a queue: deliveries of different tenants and priority classes wait apart and take turns.

A share is written "" (no tenant, bulk), "<tenant>", ".<priority>" or "<tenant>.<priority>". The queue of a share is
stored under the place "<pool>~<share>", that of the share "" under the pool's own name.
"""

import functools
import re
from typing import Final

BULK: Final = 0
HIGHEST: Final = 2
TENANT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")  # as a pool's name: neither `~` nor `.` is in it
_WEIGHTS: Final = (1, 4, 16)  # by priority class: deliveries that leave in the time of one bulk delivery
_SEPARATOR: Final = "~"


@functools.lru_cache(maxsize=4096)
def share_of(tenant: str, priority: int) -> str:
    """The share of mail of a tenant ("" = none) in a priority class."""
    return f"{tenant}.{priority}" if priority else tenant


def split_share(share: str) -> tuple[str, int]:
    """Tenant and priority class."""
    tenant, dot, priority = share.partition(".")
    return tenant, int(priority) if dot else BULK


def weight_of(share: str) -> int:
    """How many deliveries of the share leave for one of a bulk share, while both wait."""
    return _WEIGHTS[min(split_share(share)[1], HIGHEST)]


@functools.lru_cache(maxsize=4096)
def place_of(pool: str, share: str) -> str:
    """The name under which the store keeps the queues of a share."""
    return f"{pool}{_SEPARATOR}{share}" if share else pool


def split_place(place: str) -> tuple[str, str]:
    """Pool and share."""
    pool, _, share = place.partition(_SEPARATOR)
    return pool, share
