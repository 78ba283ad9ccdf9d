"""Staged releases: how many deliveries may go by now, and how they are shared out among the lanes."""

from collections.abc import Sequence

import msgspec

from mta.model.releases import ReleaseState, StagedRelease


def allowed(order: StagedRelease, now: int) -> int:
    """Deliveries that the order may have let go by `now` (Unix ms), since it began."""
    if order.count:
        return order.count
    return int(max(0, now - order.started_at) / 1000 * order.rate)


def shared_out(room: int, held: Sequence[int]) -> tuple[int, ...]:
    """Shares of `room` deliveries in proportion to what each lane holds, and never more than that (largest
    remainder)."""
    total = sum(held)
    room = min(room, total)
    if not room:
        return (0,) * len(held)
    shares = [room * count // total for count in held]
    left = room - sum(shares)
    by_remainder = sorted(range(len(held)), key=lambda lane: room * held[lane] % total, reverse=True)
    for lane in by_remainder[:left]:
        shares[lane] += 1
    return tuple(shares)


def next_round(order: StagedRelease, closed: int, held: Sequence[int], now: int) -> StagedRelease:
    """The order after its round let `closed` deliveries go, with its next round; done where nothing is left to do."""
    released = order.released + closed
    after: StagedRelease = msgspec.structs.replace(order, released=released, shares=())
    if order.count and (released >= order.count or not sum(held)):
        return ended(after, ReleaseState.DONE, now)
    shares = shared_out(allowed(order, now) - released, held)
    found: StagedRelease = msgspec.structs.replace(after, round=order.round + 1, shares=shares)
    return found


def ended(order: StagedRelease, state: ReleaseState, now: int) -> StagedRelease:
    found: StagedRelease = msgspec.structs.replace(order, state=state, shares=(), ended_at=now)
    return found
