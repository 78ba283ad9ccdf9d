"""The deciders beside the rules, and the look at mail that has waited."""

from collections.abc import Mapping
from typing import NamedTuple

from mta.admission.other_deciders import OtherDeciders
from mta.admission.quotas import TenantQuotas
from mta.model import process_metrics as told
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
