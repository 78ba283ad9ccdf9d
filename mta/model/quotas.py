"""The quota of a tenant: how many deliveries of its mail are accepted in an hour and in a day (UTC)."""

from typing import Final, NamedTuple

import msgspec

HOUR_MS: Final = 3_600_000
DAY_HOURS: Final = 24
MOST: Final = 1_000_000_000_000  # deliveries; the store counts with floating point numbers


class Quota(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True, gc=False):
    """Deliveries, 0 = no bound."""

    per_hour: int = 0
    per_day: int = 0


class CallQuota:
    """The state of one call over HTTP towards its tenant's quota."""

    __slots__ = ("has_accepted",)

    def __init__(self) -> None:
        self.has_accepted = False  # there was room for a delivery of it, so the rest of it is recorded as throttled


class QuotaUse(NamedTuple):
    """The deliveries that count against a quota in an hour and in its day. Those that processes have reserved, and not
    yet accepted, are among them."""

    hour: int  # Unix hours
    in_hour: int
    in_day: int


def left_of(quota: Quota, use: QuotaUse) -> QuotaUse:
    """As many more may be accepted in this hour, by the bound of the hour alone, and in this day; 0 where the quota has
    no such bound."""
    return QuotaUse(
        use.hour,
        max(0, quota.per_hour - use.in_hour) if quota.per_hour else 0,
        max(0, quota.per_day - use.in_day) if quota.per_day else 0,
    )
