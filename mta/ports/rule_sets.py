"""Orders for many rules at once, as the store carries them out; raises StoreAway, StoreError."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from mta.model.actor import NOBODY, Actor
from mta.model.rules import Effective, Head, Rule, RuleSet, SetMembers
from mta.model.sweeps import SweepState


class SetPlaced(NamedTuple):
    """A set that was written."""

    head: Head  # of its last part
    rules: tuple[Rule, ...]  # those made, in the order of the request, as they stand
    before: tuple[int, ...]  # of each the generation of the rule that it replaced, 0 = it is new
    removed: tuple[Rule, ...]

    @property
    def created(self) -> int:
        """How many of the rules are new."""
        return self.before.count(0)


class StoredSet(NamedTuple):
    """A set as the store knows it."""

    set: RuleSet
    generation: int  # of its last part
    members: SetMembers
    standing: int  # how many rules stand as the set made them
    effective: Effective | None = None  # where none stands: of the last generation that was known to be effective
    sweep: SweepState | None = None


class RuleSets(Protocol):
    """The sets in `{rules}`."""

    async def put_set(
        self, about: RuleSet, rules: Sequence[Rule], remove: Sequence[str], by: Actor = NOBODY
    ) -> tuple[SetPlaced, frozenset[str]]:
        """Make and remove rules in parts, each of them one change of the table; a rule of the same selectors is
        replaced, and a rule to be removed that is gone is passed over. Answers also with the wait set of the last part.
        Raises BadValue where there is no room, OldReaders: nothing was written; OutcomeUnknown: a part may have
        been."""
        ...

    async def stored_set(self, set_id: str) -> StoredSet | None:
        """None: there is no such set, or all of its rules were removed longer ago than `status.retention`."""
        ...
