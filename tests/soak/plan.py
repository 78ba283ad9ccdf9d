"""The plan of a soak: its load, its orders and its faults, drawn from the seed."""

import enum
import random
from collections.abc import Iterator
from typing import NamedTuple, TypeVar

LEASE = 5.0  # seconds, `delivery.lease`
STALENESS = 1.0  # seconds, S
STORE_TIMEOUT = 2.0  # seconds, `redis.timeout`
DOT_TIMEOUT = 3.0  # seconds, `delivery.dot_timeout`: what a destination that stalls costs
NODES = ("n1", "n2")
KEPT = "keep"  # the tag of mail that no order is about

_DOMAINS = tuple(f"d{n}.soak.test" for n in range(12))
_KINDS = {
    "plain": 82,
    "slow": 5,
    "deferred": 5,
    "dropped": 3,
    "refused": 3,
    "stalled": 2,
}  # see tests.races.destination
_T = TypeVar("_T")
_SIZES = {300: 970, 20_000: 25, 150_000: 5}


class What(enum.StrEnum):
    """A kind of fault."""

    KILL_WORKER = "kill -9 worker"
    KILL_SWEEPER = "kill -9 sweeper"
    KILL_JOURNAL = "kill -9 journal"
    KILL_API = "kill -9 API"
    KILL_SUPERVISOR = "kill -9 supervisor"
    KILL_STORE = "kill -9 store"
    STOP_WORKER = "stop worker"
    STOP_SWEEPER = "stop sweeper"
    STOP_JOURNAL = "stop journal"
    STOP_API = "stop API"
    STOP_STORE = "stop store"
    CUT = "cut from the store"
    FLAP = "flapping connections to the store"
    STALL = "silent network to the store"


_SECONDS = {  # how long a fault lasts, at least and at most
    What.KILL_STORE: (0.1, 3.0),
    What.STOP_WORKER: (0.1, LEASE + 3.0),
    What.STOP_SWEEPER: (0.1, LEASE + 3.0),
    What.STOP_JOURNAL: (0.1, 6.0),
    What.STOP_API: (0.1, 4.0),
    What.STOP_STORE: (0.1, 4.0),
    What.CUT: (0.1, LEASE + 3.0),
    What.FLAP: (1.0, 6.0),
    What.STALL: (0.1, LEASE + 3.0),
}


class Fault(NamedTuple):
    """One fault; times are seconds from the start."""

    at: float
    what: What
    node: str
    pick: int  # which of several processes
    lasts: float


class Plan(NamedTuple):
    """A soak. The same arguments give the same faults, orders, and messages in the same order."""

    seed: int
    seconds: float
    rate: float  # messages a second
    order_every: float  # seconds
    fault_every: float  # seconds, on average
    faults: tuple[Fault, ...]
    orders: tuple[float, ...]  # seconds; the n-th is about the n-th campaign


class Mail(NamedTuple):
    """One message to inject. Addresses are unique in a soak."""

    recipients: tuple[str, ...]
    tag: str
    headers: tuple[str, ...]
    size: int  # octets of text


def plan_of(
    seed: int, seconds: float, rate: float = 250.0, order_every: float = 20.0, fault_every: float = 7.0
) -> Plan:
    rng = random.Random(f"{seed} faults")
    count = int(seconds / order_every)
    orders = tuple((n + rng.uniform(0.4, 0.8)) * order_every for n in range(count))
    return Plan(seed, seconds, rate, order_every, fault_every, tuple(_faults(rng, seconds, fault_every)), orders)


def campaign(number: int) -> str:
    """The tag of the n-th campaign. Its mail is sent from the interval before its order's to the end of that one."""
    return f"campaign-{number}"


def mails(plan: Plan) -> Iterator[tuple[float, Mail]]:
    """(seconds from the start, message), without an end."""
    rng = random.Random(f"{plan.seed} load")
    number = 0
    while True:
        at = number / plan.rate
        yield at, _mail(rng, number, int(at / plan.order_every))
        number += 1


def _mail(rng: random.Random, number: int, interval: int) -> Mail:
    tag = campaign(interval + rng.randrange(2)) if rng.random() < 0.5 else KEPT
    kind, domain = _draw(rng, _KINDS), rng.choice(_DOMAINS)
    count = 2 if rng.random() < 0.1 else 1
    return Mail(
        tuple(f"{kind}-{number}-{n}@{domain}" for n in range(count)),
        tag,
        (f"X-MQ-Tag: {tag}", f"X-MQ-Tag: customer-{rng.randrange(5)}"),
        _draw(rng, _SIZES),
    )


def _faults(rng: random.Random, seconds: float, every: float) -> Iterator[Fault]:
    """All kinds in turn, in an order of chance, so that a soak of some minutes has each of them."""
    at = every / 2
    turn: list[What] = []
    while at < seconds - every / 2:
        if not turn:
            turn = rng.sample(tuple(What), len(What))
        what = turn.pop()
        lasts = rng.uniform(*_SECONDS[what]) if what in _SECONDS else 0.0
        yield Fault(at, what, rng.choice(NODES), rng.randrange(1000), lasts)
        at += rng.uniform(0.5, 1.5) * every


def _draw(rng: random.Random, shares: dict[_T, int]) -> _T:
    return rng.choices(tuple(shares), tuple(shares.values()))[0]
