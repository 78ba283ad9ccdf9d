"""The rule that decides about a transaction."""

from mta.egress.dial import ReadyConnection
from mta.egress.transaction import Transaction
from mta.model.rules import Rule
from mta.policy.rule_table import RuleTable


def rule_for(table: RuleTable, transaction: Transaction, peer: ReadyConnection) -> Rule | None:
    """The rule that decides about the transaction on a connection to that peer."""
    pool, domain = transaction.queue
    return table.match(pool, peer.mta, domain, transaction.labels, peer.ip, peer.host)


def rule_for_waiting(table: RuleTable, transaction: Transaction) -> Rule | None:
    """The rule that decides about a transaction without a connection. The sending IP is not known then if the pool has
    several."""
    pool, domain = transaction.queue
    return table.match(pool, pool[1:] if pool.startswith("@") else "", domain, transaction.labels)
