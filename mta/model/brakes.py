"""Brakes: orders that a rule be made by itself, once too much of the mail of a tag fails."""

import enum
from typing import NamedTuple

import msgspec

from mta.model.rules import Rule

AUTHOR = "brake:"  # before its id: the author of the rules that a brake makes


class Metric(enum.StrEnum):
    """The failures that a brake counts."""

    HARD_BOUNCE = "hard_bounce"  # every bounce
    UNKNOWN_USER = "unknown_user"  # bounces of addresses that do not exist
    DEFERRAL = "deferral"  # attempts that are to be repeated
    BLOCK = "block"  # ends by a block or a refusal of content


class Brake(msgspec.Struct, frozen=True, omit_defaults=True):
    """An order of a person: the mail that it watches, the limit, and the rule that it makes beyond the limit."""

    id: str
    metric: Metric
    ratio: float  # the limit; beyond it the brake is pulled
    least: int  # deliveries (attempts, for deferrals) of the window below which it is never pulled
    window: float  # seconds
    rule: Rule  # as it will be made, but for tag, id and times
    tag: str = ""  # "" = every tag, each by itself
    pool: str = ""  # "" = of any pool
    tenant: str = ""  # "" = of any tenant
    site: str = ""  # "" = to any site
    lasts: float = 0.0  # seconds until the rule expires, 0 = it does not
    created_at: int = 0  # Unix ms
    created_by: str = ""
    owner: str = ""  # the tenant whose token ordered it

    @property
    def author(self) -> str:
        """The author of its rules."""
        return AUTHOR + self.id


class Pull(msgspec.Struct, frozen=True, omit_defaults=True):
    """One time that a brake was pulled: it was noted before its rule was made."""

    brake: str
    tag: str
    tenant: str  # of the counter, "" = of any
    number: int  # of the pulls of this tag by this brake, from 1
    at: int  # Unix ms
    hits: int
    counted: int
    rule: str = ""  # id of the rule, "" = it is not made yet
    generation: int = 0  # of the rule as the brake left it
    told: bool = False  # the mail about it was accepted, or none is to be sent
    lifted_at: int = 0  # Unix ms since which the rule is not in force any more; 0 = it is

    @property
    def key(self) -> tuple[str, str, str]:
        """The brake and the tag."""
        return self.brake, self.tag, self.tenant


class Attempted(NamedTuple):
    """The facts about a settled delivery that brakes count by."""

    number: int  # in its batch, from 1
    names: tuple[str, ...]  # of the counters of its tags
    pool: str
    ended: bool  # delivered, bounced or expired; False = it was deferred
    bounced: bool
    category: str  # of the failure, "" = not known, or none
    site: str = ""  # of its domain; "" = not known, or no brake asks for it


class RateCount(NamedTuple):
    """Deliveries of one batch that a brake counts for one tag, by their numbers."""

    name: str  # of the tag's counter
    brake: str
    bucket_ms: int
    least: int  # accepted deliveries of the tag in the lane below which nothing is counted
    counted: list[int]
    hits: list[int]  # those of them that failed as the metric says
