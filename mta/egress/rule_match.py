"""The rules that decide about the deliveries of a transaction, and the deliveries that a rule matches."""

from collections.abc import Sequence

from mta.egress.dial import ReadyConnection
from mta.egress.transaction import Transaction
from mta.model.mail import Claimed
from mta.model.rules import Rule
from mta.policy.rule_table import RuleTable

# Each rule that decides about deliveries of a transaction, with these.
Decided = Sequence[tuple[Rule, Sequence[Claimed]]]

UNDECIDED: Decided = ()


def rules_for(table: RuleTable, transaction: Transaction, peer: ReadyConnection) -> Decided:
    """The rules that decide about the transaction on a connection to that peer."""
    return _decided(table, transaction, peer.mta, peer.ip, peer.host)


def rules_for_waiting(table: RuleTable, transaction: Transaction) -> Decided:
    """The rules that decide about a transaction without a connection. The sending IP is not known then if the pool has
    several."""
    pool = transaction.queue.pool
    return _decided(table, transaction, pool[1:] if pool.startswith("@") else "", "", "")


def _decided(table: RuleTable, transaction: Transaction, mta: str, ip: str, mx: str) -> Decided:
    (pool, domain), labels = transaction.queue, transaction.labels
    if not table.asks_message:
        rule = table.match(pool, mta, domain, labels, ip, mx, None, transaction.site)
        return UNDECIDED if rule is None else ((rule, transaction.claims),)
    found: dict[str, tuple[Rule, list[Claimed]]] = {}
    for claimed in transaction.claims:
        rule = table.match(pool, mta, domain, labels, ip, mx, claimed.record, transaction.site)
        if rule is not None:
            found.setdefault(rule.id, (rule, []))[1].append(claimed)
    return tuple(found.values())


def matched_by(table: RuleTable, rule: Rule, transaction: Transaction, peer: ReadyConnection) -> Sequence[Claimed]:
    """The deliveries of the transaction that this rule matches, even if another rule wins."""
    (pool, domain), labels, claims = transaction.queue, transaction.labels, transaction.claims
    asked = claims if rule.selectors.asks_message else claims[:1]
    met = [
        claimed
        for claimed in asked
        if table.matches(rule, pool, peer.mta, domain, labels, peer.ip, peer.host, claimed.record, transaction.site)
    ]
    return claims if met and asked is not claims else met
