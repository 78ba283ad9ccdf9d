"""The account of a tag or of a rule, field by field as the API shows it (unit: the delivery; times are RFC 3339)."""

import msgspec
from msgspec import UNSET, UnsetType


class Intercepted(msgspec.Struct, frozen=True):
    """Ended by a forced error, by where it met them."""

    queued: int
    attempt: int
    before_dot: int
    door: int


class TagStatement(msgspec.Struct, frozen=True):
    """`accepted` is counted on its own; it equals the sum of the classes from `delivered` to `parked`."""

    as_of: str
    tag: str
    accepted: int
    delivered: int
    bounced: int
    expired: int
    intercepted: Intercepted
    canceled: int
    filtered: int
    simulated: int
    queued: int
    held: int
    parked: int
    rejected: int
    deferred_by_rule: int
    uncertain: int
    rules: tuple[str, ...]
    balanced: bool
    tracked: bool


class RuleDelivered(msgspec.Struct, frozen=True, kw_only=True):
    """Deliveries of the rule's only tag that were delivered before it was effective; and those that were past their dot
    then."""

    before: int | UnsetType = UNSET
    after: int


class SweepProgress(msgspec.Struct, frozen=True):
    """`rate` in deliveries a second; `eta` in seconds, None = not known yet."""

    state: str
    seen: int
    matched: int
    rate: float
    eta: float | None


class RuleStatement(msgspec.Struct, frozen=True):
    """The deliveries that the rule met: live and matching at the sweep, or met later."""

    as_of: str
    rule: str
    generation: int
    effective_at: str | None
    quiet_at: str | None
    matched: int
    intercepted: Intercepted
    delivered: RuleDelivered
    deferred: int
    queued: int
    held: int
    other: int
    uncertain: int
    undoable: int
    sweep: SweepProgress | UnsetType
    complete: bool
    balanced: bool | None
    accepted: int | UnsetType = UNSET
    removed_at: str | UnsetType = UNSET
