"""The account of a tag or of a rule, field by field as the API shows it (unit: the delivery; times are RFC 3339)."""

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from mta.model.rules import Selectors
from mta.model.units import TimeText, format_time


class Intercepted(msgspec.Struct, frozen=True):
    """Ended by a forced error, by where it met them."""

    queued: int
    attempt: int
    before_dot: int
    door: int


class TagStatement(msgspec.Struct, frozen=True):
    """`accepted` is counted on its own; it equals the sum of the classes from `delivered` to `parked`."""

    as_of: TimeText
    tag: str
    accepted: int
    delivered: int
    bounced: int
    expired: int
    intercepted: Intercepted
    canceled: int
    filtered: int
    throttled: int
    simulated: int
    queued: int
    held: int
    parked: int
    rejected: int
    deferred_by_rule: int
    undone: int
    uncertain: int
    rules: tuple[str, ...]
    balanced: bool
    tracked: bool
    nearest: tuple[str, ...] | UnsetType = UNSET


class RuleDelivered(msgspec.Struct, frozen=True, kw_only=True):
    """Deliveries that the rule selects and that were delivered before it was effective; and those that were past their
    dot then. `source` is "history" where `before` was counted there, and not by the counters of the rule's only tag."""

    before: int | UnsetType = UNSET
    after: int
    source: str | UnsetType = UNSET


class SweepProgress(msgspec.Struct, frozen=True):
    """`rate` in deliveries a second; `eta` in seconds, None = not known yet."""

    state: str
    seen: int
    matched: int
    rate: float
    eta: float | None
    unresolved: int | UnsetType = UNSET  # the attempt decides about these: their site is not known


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """The counts and the progress of an order."""

    effective_at: TimeText | None
    quiet_at: TimeText | None
    matched: int
    intercepted: Intercepted
    delivered: RuleDelivered
    deferred: int
    held: int
    other: int
    undone: int
    uncertain: int
    undoable: int
    undo_until: TimeText | UnsetType = UNSET
    sweep: SweepProgress | UnsetType = UNSET
    complete: bool | None
    why_incomplete: str | UnsetType = UNSET
    balanced: bool | None


class RuleAccount(Account, frozen=True, kw_only=True):
    """The account of one rule, and the code of a forced error."""

    queued: int
    accepted: int | UnsetType = UNSET
    removed_at: TimeText | UnsetType = UNSET
    code: int | UnsetType = UNSET


class AccountWithRule(RuleAccount, frozen=True, kw_only=True):
    """The account of one rule, and the fields of the rule itself. Fields that are not set are left out."""

    pool: str | UnsetType = UNSET
    mta: str | UnsetType = UNSET
    domain: str | tuple[str, ...] | UnsetType = UNSET
    ip: str | UnsetType = UNSET
    mx: str | UnsetType = UNSET
    tag: str | UnsetType = UNSET
    tags_all: tuple[str, ...] | UnsetType = UNSET
    except_tags: tuple[str, ...] | UnsetType = UNSET
    tenant: str | UnsetType = UNSET
    sender: str | UnsetType = UNSET
    recipient: str | UnsetType = UNSET
    accepted_before: TimeText | UnsetType = UNSET
    accepted_after: TimeText | UnsetType = UNSET
    schedule: str | UnsetType = UNSET
    timezone: str | UnsetType = UNSET
    site: str | UnsetType = UNSET
    cluster: bool
    node: str | UnsetType = UNSET
    enabled: bool
    expires_at: TimeText | UnsetType = UNSET
    reason: str | UnsetType = UNSET
    created_at: TimeText | UnsetType = UNSET
    created_by: str | UnsetType = UNSET


# The keyword-only fields of a base come behind the fields of its subclass, so these two begin with their own.
class RuleStatement(AccountWithRule, frozen=True):
    """The deliveries that the rule met: live and matching at the sweep, or met later. The fields from
    `pool` on are the rule's own, as in a list of rules; a field that is not set is left out."""

    as_of: TimeText
    rule: str
    generation: int


class SetStatement(Account, frozen=True):
    """The account of a set of rules: the sums of the accounts of the rules that it made. A delivery that two of them
    met counts with both."""

    as_of: TimeText
    set: str
    created_at: TimeText
    created_by: str
    generation: int
    rules: int
    standing: int
    removed: int


def selectors_shown(chosen: Selectors) -> dict[str, Any]:
    """The selectors of a rule by the names that its record has for them, without those that are not set."""
    found = {name: value for name, value in msgspec.structs.asdict(chosen).items() if value is not None}
    if chosen.domains is not None:
        found["domain"] = found.pop("domains")
    for name in ("accepted_before", "accepted_after"):
        if name in found:
            found[name] = format_time(found[name])
    return found
