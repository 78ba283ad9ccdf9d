"""Slow start: halves the connections of a path after a rate reply, and opens it again, one by one, by success.

After a refused connection the path goes back to what was accepted, and each such refusal doubles the time until it is
opened again.
"""

from typing import Final

from msgspec.structs import replace

from mta.model.limit_orders import SLOW_START, LimitOrder
from mta.model.outcomes import Reply
from mta.model.replies import Known, Reaction
from mta.model.text import visible

ROUND_MS: Final = 1000  # a path changes at most once in that time: replies of one burst halve it once
MOST_ROUND_MS: Final = 60_000  # from one opening to the next, where the last ones were refused
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
    `LimitOrder`. None: it stays as it is, because it has just fallen or there is only one connection."""
    stands = was if was is not None and was.until > now else None
    if stands is not None and _has_just_fallen(stands, now):
        return None
    there = open_connections if stands is None else min(open_connections, stands.connections)
    if there < 2:
        return None if stands is None or stands.connections == 1 else _changed(stands, 1, now)
    reason = _reason(there, words)
    if stands is not None:
        return replace(_changed(stands, there // 2, now), reason=reason, accepted=0)
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


def fallen(
    site: str, ip: str, open_connections: int, words: str, now: int, was: LimitOrder | None
) -> LimitOrder | None:
    """The limit after a site refused a connection while others were open (0: their number is not known). It is what
    the site accepted before, or one less where just these were refused; half, as long as far fewer are open. The first
    time it is half of those that were open, see `halved`."""
    if was is None or was.until <= now:
        return halved(site, ip, open_connections, words, now, was)
    if _has_just_fallen(was, now):
        return None
    if not was.accepted or 0 < open_connections < was.connections // 2:
        to = max(1, was.connections // 2)
    else:
        to = was.accepted if _has_opened(was) else max(1, was.connections - 1)
    every = min(MOST_ROUND_MS, 2 * max(ROUND_MS, was.opens_every_ms))
    order = replace(_changed(was, to, now), opens_every_ms=every, accepted=min(was.accepted, to))
    return order if to == was.connections else replace(order, reason=_reason(was.connections, words))


def is_full_round(order: LimitOrder, delivered: int, open_connections: int, workers: int, now: int) -> bool:
    """Whether one of so many processes has used the path enough to open it further: it has its part of the connections
    and has delivered as often."""
    if now - changed_at(order) < max(ROUND_MS, order.opens_every_ms):
        return False
    return min(delivered, open_connections) * workers >= order.connections


def opened(order: LimitOrder, now: int) -> LimitOrder | None:
    """The limit with one connection more. None: the path is open as before, and twice as far as when it was halved."""
    if order.connections + 1 >= order.opens_to:
        return None
    every = order.opens_every_ms // 2 if _has_opened(order) else order.opens_every_ms
    further = _changed(order, order.connections + 1, now)
    return replace(further, accepted=order.connections, opens_every_ms=every)


def changed_at(order: LimitOrder) -> int:
    """Unix ms of the last change."""
    return order.until - QUIET_MS


def _has_just_fallen(order: LimitOrder, now: int) -> bool:
    """Whether a reply at `now` is of the same burst as those for which the path became narrower."""
    return not _has_opened(order) and now - changed_at(order) < ROUND_MS


def _has_opened(order: LimitOrder) -> bool:
    """Whether the last change made the path wider."""
    return 0 < order.accepted < order.connections


def _reason(connections: int, words: str) -> str:
    text = visible(f"at {connections} connections: {words}")
    return text.encode()[:_REASON_AT_MOST].decode("utf-8", "ignore")


def _changed(order: LimitOrder, connections: int, now: int) -> LimitOrder:
    return replace(order, connections=connections, until=now + QUIET_MS)
