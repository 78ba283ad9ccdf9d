"""A preview: the deliveries that a rule would match if it were ordered now, counted before anybody orders it."""

import enum
from typing import Final

import msgspec

from mta.model.rules import Rule

LIFETIME: Final = 600.0  # seconds for which a preview and its token can be used


class PreviewState(enum.StrEnum):
    """Whether the queues have been walked."""

    COUNTING = "counting"
    DONE = "done"


class SampledDelivery(msgspec.Struct, frozen=True):
    """One of the deliveries that the rule would match; `accepted_at` is Unix ms."""

    id: str  # text form
    recipient: str
    sender: str
    tags: tuple[str, ...]
    tenant: str
    pool: str
    held: bool
    attempts: int
    accepted_at: int


class Tally(msgspec.Struct, frozen=True):
    """The counts of one walk over everything that waits."""

    seen: int = 0  # deliveries that the walk has looked at
    matched: int = 0
    by_domain: dict[str, int] = {}  # the domains with most deliveries
    domains: int = 0  # all of them
    by_pool: dict[str, int] = {}  # the pools with most deliveries
    by_state: dict[str, int] = {}
    by_age: dict[str, int] = {}
    sample: tuple[SampledDelivery, ...] = ()


class Preview(msgspec.Struct, frozen=True):
    """A preview as the store keeps it; times are Unix ms."""

    id: str
    rule: Rule  # as it would be ordered
    asked_at: int
    counted: int | None = None  # deliveries that its token stands for; None = not counted yet
    state: PreviewState = PreviewState.COUNTING
    tally: Tally = Tally()
    share: float = 0.0  # of the walk that is done, 0 to 1
    began_at: int = 0  # of the walk, 0 = not yet
    done_at: int = 0
