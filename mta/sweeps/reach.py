"""The queues that a sweep must walk: those whose mail some of its rules could match with the right tags."""

from collections.abc import Iterable

from mta.model.rules import Rule
from mta.policy.addresses import domain_of
from mta.policy.rule_index import parents


class Reach:
    """Of all rules that are swept; a look costs the same with one rule and with 10,000."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._domains: dict[str | None, set[str | None]] = {}  # by pool, None = any: patterns, None = every domain
        for rule in rules:
            chosen = rule.selectors
            names = (domain_of(chosen.recipient),) if chosen.recipient is not None else chosen.names or (None,)
            self._domains.setdefault(chosen.pool, set()).update(names)

    def has(self, pool: str, domain: str | None = None) -> bool:
        """Whether some rule could match mail of that pool, and of the domain where it is given."""
        for patterns in (self._domains.get(None), self._domains.get(pool)):
            if patterns and (domain is None or None in patterns or not patterns.isdisjoint(_patterns(domain))):
                return True
        return False


def _patterns(domain: str) -> list[str]:
    """Every pattern that covers the domain."""
    return [domain, *(f"*.{above}" for above in parents(domain))]
