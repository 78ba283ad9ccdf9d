"""Slow start: halves the connections of a path after a rate reply, and opens it again, one by one, by success."""

from typing import Final

from msgspec.structs import replace

from mta.model.limit_orders import SLOW_START, LimitOrder
from mta.model.outcomes import Reply
from mta.model.replies import Known, Reaction
from mta.model.text import visible

ROUND_MS: Final = 1000  # a path changes at most once in that time: replies of one burst halve it once
QUIET_MS: Final = 600_000  # without a change for so long a path is open again

_CLOSING: Final = 421
_RATE_CODES: Final = (_CLOSING, 451)
_REASON_AT_MOST: Final = 200  # bytes


def is_rate_reply(reply: Reply, known: Known | None) -> bool:
    """Whether the reply says that too much mail comes at once. A 421 that nobody knows counts as one; a reply about one
    recipient or about the length of one connection does not."""
    if known is None:
        return reply.code == _CLOSING
    return reply.code in _RATE_CODES and known.category == "rate_limited" and known.reaction is Reaction.SLOW_DOWN


def halved(
    site: str, ip: str, open_connections: int, words: str, now: int, was: LimitOrder | None
) -> LimitOrder | None:
    """The limit after a rate reply at `now` (Unix ms), when so many connections were open; `ip` is that of a
    `LimitOrder`. None: it stays as it is, because it has just changed or there is only one connection."""
    stands = was if was is not None and was.until > now else None
    if stands is not None and now - changed_at(stands) < ROUND_MS:
        return None
    there = open_connections if stands is None else min(open_connections, stands.connections)
    if there < 2:
        return None if stands is None or stands.connections == 1 else _changed(stands, 1, now)
    reason = visible(f"at {there} connections: {words}").encode()[:_REASON_AT_MOST].decode("utf-8", "ignore")
    if stands is not None:
        return replace(_changed(stands, there // 2, now), reason=reason)
    return LimitOrder(
        site=site,
        ip=ip,
        connections=there // 2,
        since=now,
        until=now + QUIET_MS,
        by=SLOW_START,
        reason=reason,
        reaction=SLOW_START,
        opens_to=2 * there,
    )


def is_full_round(order: LimitOrder, delivered: int, workers: int, now: int) -> bool:
    """Whether one of so many processes has delivered enough on the path to open it further: as often as its part of
    the connections."""
    return delivered * workers >= order.connections and now - changed_at(order) >= ROUND_MS


def opened(order: LimitOrder, now: int) -> LimitOrder | None:
    """The limit with one connection more. None: the path is open as before, and twice as far as when it was halved."""
    return None if order.connections + 1 >= order.opens_to else _changed(order, order.connections + 1, now)


def changed_at(order: LimitOrder) -> int:
    """Unix ms of the last change."""
    return order.until - QUIET_MS


def _changed(order: LimitOrder, connections: int, now: int) -> LimitOrder:
    return replace(order, connections=connections, until=now + QUIET_MS)
