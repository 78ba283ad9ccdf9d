"""The deciders beside the rules, and the look at mail that has waited."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple

from mta.admission.other_deciders import OtherDeciders, joined
from mta.admission.quotas import TenantQuotas
from mta.model import process_metrics as told
from mta.model.mail import NewMessage
from mta.model.suppressions import SuppressionKey
from mta.ports.queueing import UNDECIDED, AcceptanceDecision
from mta.redis_store.link import Link
from mta.redis_store.quota_store import StoredQuotas
from mta.redis_store.suppression_store import StoredSuppressions
from mta.rules.guard import Guard
from mta.suppressions.looks import SuppressionLooks
from mta.suppressions.watch import SuppressionWatch


class Suppressions(NamedTuple):
    """The suppressions in a process, and the watch that must run for them."""

    looks: SuppressionLooks
    watch: SuppressionWatch

    def metrics(self) -> Mapping[str, float]:
        return {told.SUPPRESSIONS_CHANGE.key: self.watch.number, told.SUPPRESSIONS.key: len(self.watch)}


def suppressions_of(link: Link) -> Suppressions:
    store = StoredSuppressions(link)
    watch = SuppressionWatch(store)
    return Suppressions(SuppressionLooks(watch, store), watch)


def other_deciders(link: Link, guard: Guard, suppressions: Suppressions, node: str) -> OtherDeciders:
    """`node` is named in the events. Suppressed recipients use up no quota."""
    quotas = TenantQuotas(StoredQuotas(link), lambda: guard.table.tenants)
    return OtherDeciders((suppressions.looks, quotas), node)


class _AnyMayBe:
    """Of a process that accepts few messages, and does not follow the suppressions: the store is asked about each."""

    is_on = True

    def may_be(self, keys: Sequence[SuppressionKey]) -> list[SuppressionKey]:
        return list(keys)


def suppressed_only(link: Link, node: str) -> Callable[[Sequence[NewMessage]], Awaitable[AcceptanceDecision]]:
    """Decides by suppressions alone."""
    others = OtherDeciders((SuppressionLooks(_AnyMayBe(), StoredSuppressions(link)),), node)

    async def decide(messages: Sequence[NewMessage]) -> AcceptanceDecision:
        return joined(UNDECIDED, await others.decide(messages, UNDECIDED))

    return decide
