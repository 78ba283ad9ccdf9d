"""The retry schedule: the time of the next attempt, and the expiry of a delivery."""

import re
from collections.abc import Sequence
from typing import Final

from mta.model.mail import IpWish, Record
from mta.model.outcomes import Origin, Outcome
from mta.model.replies import Reaction
from mta.policy.sending_window import opens_at
from mta.policy.shaping import Plan

_JITTER = 0.1
_REMOTE, _SLOW_DOWN = Origin.REMOTE, Reaction.SLOW_DOWN


def delay_ms(retries: Sequence[float], attempts: int, chance: float) -> int:
    """Milliseconds from the end of attempt number `attempts` to the next; `chance` in [0, 1) spreads it by 10 %."""
    seconds = retries[min(attempts, len(retries)) - 1]
    return int(seconds * 1000 * (1 - _JITTER + 2 * _JITTER * chance))


def next_attempt(
    record: Record, attempts: int, now: int, plan: Plan, chance: float, outcome: Outcome | None = None
) -> int | None:
    """Unix ms of the attempt after `attempts` that ended, the last of them with `outcome`; None: attempts or time are
    used up, the delivery has expired.

    An attempt that would come after the message's time is not waited for: the sender learns of it now. Where no
    connection was tried, no attempt is used up.
    """
    most = record.max_attempts or plan.max_attempts
    retries = record.retries or plan.retries
    if outcome is not None and outcome.untried:
        retries = retries or (plan.back_off,)
        due = now + delay_ms(retries, max(attempts, _waits_over(record, now, retries)) + 1, chance)
        return _in_time(record, plan, due)
    if (most and attempts >= most) or not retries:
        return None
    asked = None if outcome is None or outcome.origin is not _REMOTE else asked_seconds(outcome.reply.text)
    if asked is not None:  # in a reply whose reaction is to slow down as well
        seconds = min(max(asked, min(retries)), max(retries))
        due = now + int(seconds * 1000 * (1 + _JITTER * chance))  # never earlier than the server asks
    else:
        slower = outcome is not None and outcome.known is not None and outcome.known.reaction is _SLOW_DOWN
        due = now + delay_ms(retries, attempts + slower, chance)
    return _in_time(record, plan, due)


def _in_time(record: Record, plan: Plan, due: int) -> int | None:
    """`due`, or the time at which the message's window opens then; None: the delivery has expired by that time."""
    if record.window is not None:
        due = opens_at(record.window, due)
    return due if due < _end(record, plan) else None


def _waits_over(record: Record, now: int, retries: Sequence[float]) -> int:
    """The waits of the schedule that are over by the age of the delivery. They stand for attempts where none was made,
    so that mail for a host that is dead for days is not looked at every minute."""
    age = (now - max(record.accepted_at, record.scheduled_at)) / 1000
    for number, wait in enumerate(retries):
        age -= wait
        if age < 0:
            return number
    return len(retries)


def _end(record: Record, plan: Plan) -> int:
    """Unix ms of the expiry of a delivery. The time for which a pause held it has moved `expires_at`, and so moves the
    expiry by the destination's own `max_age`, too."""
    if not plan.max_age_ms:
        return record.expires_at
    by_age = max(record.accepted_at, record.scheduled_at) + plan.max_age_ms
    return min(record.expires_at, max(by_age, record.expires_at - plan.sooner_ms))


_ASKED: Final = re.compile(
    r"(?:again|retry|back|wait|later|listed|listing|action|delayed|deferred|try)\b[^.;]{0,40}?"
    r"(?:\b([0-9]{1,2}):([0-9]{2}):([0-9]{2})\b|\b([0-9]{1,6})\s?(s|m|h)(?:ec(?:ond)?s?|in(?:ute)?s?|(?:ou)?rs?)?\b)",
    re.IGNORECASE | re.ASCII,
)
_UNITS: Final = {"s": 1, "m": 60, "h": 3600}


def asked_seconds(text: str) -> int | None:
    """The time after which a server asks for the next attempt, as in "Greylisted, try again in 5 minutes"; None: it
    asks for none."""
    found = _ASKED.search(text)
    if found is None:
        return None
    hours, minutes, seconds, number, unit = found.groups()
    if number is not None:
        return int(number) * _UNITS[unit.lower()]
    return int(hours) * 3600 + int(minutes) * 60 + int(seconds)


def ip_wish(before: IpWish | None, outcome: Outcome, most: int) -> IpWish | None:
    """The sending IP of the next attempt after `outcome`: the same one after greylisting, `most` times at most, because
    a greylist knows a sender by its IP; another one after a block of this one. None: any."""
    known, ip = outcome.known, outcome.mta
    if outcome.origin is not _REMOTE or not ip:
        return before  # nobody answered
    if known is None:
        return None
    if known.category == "greylisted":
        is_same = before is not None and not before.avoid and before.ip == ip
        retries = before.retries + 1 if before is not None and is_same else 1
        return IpWish(ip, False, retries) if retries <= most else None
    return IpWish(ip, True) if known.category == "ip_block" else None


def has_expired(record: Record, now: int) -> bool:
    """Whether the message has expired, so that no attempt may begin."""
    return record.expires_at <= now
