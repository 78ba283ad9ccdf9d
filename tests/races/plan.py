"""The plan of one race of two campaigns: every choice by chance, drawn from the seed."""

import enum
import random
from collections.abc import Mapping
from typing import NamedTuple, TypeVar

LEASE = 5.0  # seconds, `delivery.lease`
STALENESS = 2.0  # seconds, S: a busy machine lets a process stand still for more than one
POOLS = ("gold", "iron")
NARROW_DOMAINS = tuple(f"d{n}.race.test" for n in range(4))  # few connections, so that mail waits for them
DOMAINS = (*NARROW_DOMAINS, "wide.race.test")
HELD_DOMAIN = "h.race.test"
HELD_TAG = "hold"
_T = TypeVar("_T")
STATES = ("due", "scheduled", "deferred", "held", "claimed")


class Campaign(enum.StrEnum):
    """The tag of a message, and what becomes of it."""

    STOP = "stop"  # the order is about these
    KEEP = "keep"  # and these must all arrive


class Kind(enum.StrEnum):
    """Where a message is to be when the order comes; its addresses begin with the word, the sink looks at it."""

    PLAIN = "plain"
    SLOW = "slow"  # some reply of the sink comes late: claimed for long
    SCHEDULED = "scheduled"
    DEFERRED = "deferred"  # the sink refuses each address, and does so when asked again at once
    HELD = "held"


class Fault(enum.StrEnum):
    """The fault of one worker when the order comes."""

    NONE = "none"
    KILLED = "killed"
    PAUSED = "paused"  # and goes on before its lease is over
    LOST = "lost"  # paused beyond its lease
    CUT = "cut off"  # its whole node loses sight of the store for a while


_FAULTS = (
    *(Fault.NONE, Fault.KILLED, Fault.NONE, Fault.PAUSED),
    *(Fault.NONE, Fault.CUT, Fault.NONE, Fault.LOST),
)
_SHARES = {Kind.PLAIN: 65, Kind.SLOW: 5, Kind.SCHEDULED: 10, Kind.DEFERRED: 10, Kind.HELD: 10}
_SIZES = {300: 978, 150_000: 20, 600_000: 2}  # in one write, in several, in pieces in the store too
_KEPT_BACK = {
    (Campaign.STOP, Kind.SCHEDULED): "X-MQ-Delayed: +1h",
    (Campaign.KEEP, Kind.SCHEDULED): "X-MQ-Delayed: +5s",
    (Campaign.STOP, Kind.DEFERRED): "X-MQ-Retries: 1h",
    (Campaign.KEEP, Kind.DEFERRED): "X-MQ-Retries: 3s",
}


class Mail(NamedTuple):
    """One message to inject. Addresses are unique in a seed."""

    campaign: Campaign
    kind: Kind
    pool: str
    recipients: tuple[str, ...]
    headers: tuple[str, ...]  # those of the injection
    size: int  # octets of text


class Plan(NamedTuple):
    """One seed; times are seconds."""

    seed: int
    fault: Fault
    lanes: int
    mails: tuple[Mail, ...]
    ordered_at: float  # the share of the mail that is accepted before the order may come
    lingers: float  # from then to the order
    by: int  # the node that is asked
    pause: dict[str, str]  # selectors of what holds
    hit: int  # which worker the fault is about
    hit_at: float  # from the order on; may be before it
    hit_for: float  # until the worker goes on, 0.0 = never


# Headers that choose a share of the queue; most mail has none.
_OF_SHARES = (
    (), (), (), ("X-MQ-Tenant: shop",), (), (), (), ("X-MQ-Priority: 2",), (), (), (),
    ("X-MQ-Tenant: shop", "X-MQ-Priority: 1"),
)  # fmt: skip


def plan_of(seed: int, messages: int) -> Plan:
    """The same seed and count give the same plan."""
    rng = random.Random(seed)
    fault = _FAULTS[seed % len(_FAULTS)]
    pause = rng.choice(({"tag": HELD_TAG}, {"domain": HELD_DOMAIN}))
    return Plan(
        seed=seed,
        fault=fault,
        lanes=rng.choice((3, 4)),
        mails=tuple(_mail(rng, number, pause) for number in range(messages)),
        ordered_at=rng.uniform(0.3, 0.9),
        lingers=rng.uniform(0.0, 0.5),
        by=0 if fault is Fault.CUT else rng.randrange(2),
        pause=pause,
        hit=rng.randrange(4),
        hit_at=rng.uniform(-0.08, 0.08),
        hit_for=_duration(rng, fault),
    )


def _duration(rng: random.Random, fault: Fault) -> float:
    match fault:
        case Fault.PAUSED:
            return rng.uniform(0.1, LEASE - 1.5)
        case Fault.LOST:
            return rng.uniform(LEASE + 1.5, LEASE + 3.0)
        case Fault.CUT:
            return rng.uniform(0.3, LEASE + 3.0)
    return 0.0


def _mail(rng: random.Random, number: int, pause: dict[str, str]) -> Mail:
    campaign = rng.choice(tuple(Campaign))
    kind = _draw(rng, _SHARES)
    pool = rng.choice(POOLS)
    domain = HELD_DOMAIN if kind is Kind.HELD and "domain" in pause else rng.choice(DOMAINS)
    count = _draw(rng, {1: 85, 2: 10, 3: 5})
    tags = [campaign.value, f"customer-{rng.randrange(5)}", *([HELD_TAG] if kind is Kind.HELD else [])]
    rng.shuffle(tags)
    kept_back = _KEPT_BACK.get((campaign, kind))
    return Mail(
        campaign,
        kind,
        pool,
        tuple(f"{kind}-{campaign}-{number}-{n}@{domain}" for n in range(count)),
        (
            f"X-MQ-Pool: {pool}",
            *(f"X-MQ-Tag: {tag}" for tag in tags),
            *([kept_back] if kept_back else []),
            *_OF_SHARES[number % len(_OF_SHARES)],
        ),
        _draw(rng, _SIZES),
    )


def _draw(rng: random.Random, shares: Mapping[_T, int]) -> _T:
    return rng.choices(tuple(shares), tuple(shares.values()))[0]
