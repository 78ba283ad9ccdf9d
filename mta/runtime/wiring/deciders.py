"""The deciders beside the rules, in a process that takes mail."""

from mta.admission.other_deciders import OtherDeciders
from mta.admission.quotas import TenantQuotas
from mta.redis_store.quota_store import StoredQuotas
from mta.rules.guard import Guard
from mta.runtime.wiring.opening import OpenStore


def other_deciders(store: OpenStore, guard: Guard, node: str) -> OtherDeciders:
    """`node` is named in the events."""
    return OtherDeciders((TenantQuotas(StoredQuotas(store.link), lambda: guard.table.tenants),), node)
