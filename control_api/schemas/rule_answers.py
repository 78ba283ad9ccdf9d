"""Forced errors and pauses as answers show them: the rule, its use, and its effect."""

from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from control_api.schemas.answers import Count, Time, joined, own_fields
from mta.model.rules import AtTheDoor, BoundState, InFlight
from mta.model.statements import AccountWithRule


class _Id(Struct, kw_only=True, frozen=True):
    """The id comes first in an answer."""

    id: str


class _Both(Struct, kw_only=True, frozen=True):
    """Further fields of both kinds."""

    in_flight: InFlight
    generation: Count


class OrderBound(Struct, kw_only=True, frozen=True):
    """The bound of an order. While its mail is counted it is held, and the forced error is not in force."""

    state: BoundState
    max_matches: Count
    matched: Count | UnsetType = UNSET
    held_at: Time | UnsetType = UNSET


class _Bound(Struct, kw_only=True, frozen=True):
    """Of an order with a bound."""

    bound: OrderBound | UnsetType = UNSET


class _ForcedError(Struct, kw_only=True, frozen=True):
    """The fields of a forced error alone."""

    code: Annotated[int, Meta(ge=200, le=599)]
    extended: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    at_the_door: AtTheDoor | UnsetType = UNSET
    undo: bool | UnsetType = UNSET


class _Use(Struct, kw_only=True, frozen=True):
    """The deliveries that a rule has met."""

    hits: Count
    last_hit_at: Time | None
    shadowed_by: str | None


class _UseWhereAsked(Struct, kw_only=True, frozen=True):
    """The same in answers that may lack it."""

    hits: Count | UnsetType = UNSET
    last_hit_at: Time | UnsetType | None = UNSET
    shadowed_by: str | UnsetType | None = UNSET


class PastDot(Struct, kw_only=True, frozen=True):
    """A delivery whose final dot had been sent when the rule became effective."""

    id: str
    recipient: str
    dot_at: Time | None


class Confirmations(Struct, kw_only=True, frozen=True):
    """Processes, by name."""

    confirmed: list[str]
    unconfirmed: list[str]


class Effect(Struct, kw_only=True, frozen=True):
    """The effect of a change: whether it is effective everywhere, and since when."""

    effective: bool
    effective_at: Time | UnsetType = UNSET
    effective_by: Time | UnsetType = UNSET
    past_dot: list[PastDot]
    quiet_at: Time | None
    workers: Confirmations


class _Warnings(Struct, kw_only=True, frozen=True):
    """Things that an operator should look at; the order stands all the same."""

    warnings: list[str] | UnsetType = UNSET


class _UndoUntil(Struct, kw_only=True, frozen=True):
    """Until when all that can be undone now can be undone."""

    undo_until: Time | UnsetType = UNSET


class _StatementUntil(Struct, kw_only=True, frozen=True):
    """Until when the statement of a removed rule can be read."""

    statement_until: Time


class _Held(Struct, kw_only=True, frozen=True):
    """The deliveries that a pause holds now."""

    held: Count


class _HeldWhereAsked(Struct, kw_only=True, frozen=True):
    """The same in answers that may lack it."""

    held: Count | UnsetType = UNSET


# The fields of both kinds; a statement shows those in the middle, too.
_RULE = (_Id, own_fields("_ShownRule", AccountWithRule), _Both, _Bound)
_FORCED_ERROR = (*_RULE, _ForcedError)
_CHANGED = (_UseWhereAsked, Effect, _Warnings)

ListedForcedError = joined("ListedForcedError", "A forced error in a list.", *_FORCED_ERROR, _Use)
ForcedError = joined("ForcedError", "A forced error with its effect.", *_FORCED_ERROR, *_CHANGED, _UndoUntil)
RemovedForcedError = joined(
    "RemovedForcedError", "A forced error that was removed.", *_FORCED_ERROR, *_CHANGED, _StatementUntil
)
ListedPause = joined("ListedPause", "A pause in a list.", *_RULE, _Use, _Held)
Pause = joined("Pause", "A pause with its effect.", *_RULE, *_CHANGED, _HeldWhereAsked)
RemovedPause = joined("RemovedPause", "A pause that was removed.", *_RULE, *_CHANGED, _HeldWhereAsked, _StatementUntil)


class Undone(Struct, kw_only=True, frozen=True):
    """How far an undo is, and the effect of disabling the rule unless it had been removed."""

    id: str
    reinstated: Count
    left: Count
    effective: bool | UnsetType = UNSET
    effective_at: Time | UnsetType = UNSET
    effective_by: Time | UnsetType = UNSET
    past_dot: list[PastDot] | UnsetType = UNSET
    quiet_at: Time | UnsetType | None = UNSET
    workers: Confirmations | UnsetType = UNSET


class SetOfRules(Effect, kw_only=True, frozen=True):
    """A set of forced errors that one order changed, with its effect. `rules` has the ids of those that it made, in the
    order of the request; `standing` is how many of them have not been changed or removed since."""

    id: str
    created_at: Time
    created_by: str
    generation: Count
    rules: list[str]
    removed: list[str]
    standing: Count
    created: Count | UnsetType = UNSET
