"""The rule store of a process that reads or changes rules."""

from mta.model.settings import Settings
from mta.redis_store.rule_sets import StoredRuleSets
from mta.redis_store.rule_store import StoredRules
from mta.runtime.wiring.opening import OpenStore


def stored_rules(store: OpenStore, settings: Settings) -> StoredRules:
    return StoredRules(
        store.link,
        store.session,
        store.lanes,
        store.cluster.max_staleness,
        settings.rules.max_rules,
        settings.status.retention,
    )


def stored_sets(store: OpenStore, rules: StoredRules, settings: Settings) -> StoredRuleSets:
    """The sets of rules, beside the rules themselves."""
    return StoredRuleSets(store.link, rules, settings.rules.max_rules, settings.status.retention)
