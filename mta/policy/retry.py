"""The retry schedule: the time of the next attempt, and the expiry of a delivery."""

from collections.abc import Sequence

from mta.model.mail import Record
from mta.policy.shaping import Plan

_JITTER = 0.1


def delay_ms(retries: Sequence[float], attempts: int, chance: float) -> int:
    """Milliseconds from the end of attempt number `attempts` to the next; `chance` in [0, 1) spreads it by 10 %."""
    seconds = retries[min(attempts, len(retries)) - 1]
    return int(seconds * 1000 * (1 - _JITTER + 2 * _JITTER * chance))


def next_attempt(record: Record, attempts: int, now: int, plan: Plan, chance: float) -> int | None:
    """Unix ms of the attempt after `attempts` that ended; None: attempts or time are used up, the delivery has expired.

    An attempt that would come after the message's time is not waited for: the sender learns of it now.
    """
    most = record.max_attempts or plan.max_attempts
    retries = record.retries or plan.retries
    if (most and attempts >= most) or not retries:
        return None
    due = now + delay_ms(retries, attempts, chance)
    return due if due < record.expires_at else None


def has_expired(record: Record, now: int) -> bool:
    """Whether the message has expired, so that no attempt may begin."""
    return record.expires_at <= now
