"""The terms of tenants: whether the mail of one is taken, where it may come from, and the weight of its shares."""

from collections.abc import Mapping
from typing import Final

from mta.model.outcomes import Reply
from mta.model.rules import PastDot, Rule
from mta.model.shares import split_share, weight_of
from mta.policy.rule_table import RuleTable, covers

SUSPENDED: Final = Reply(550, "5.7.1", "the account is suspended")
NOT_ITS_SENDER: Final = Reply(550, "5.7.1", "the domain of MAIL FROM is none that this account may send from")
NOT_ITS_FROM: Final = Reply(550, "5.7.1", "the domain of the From header is none that this account may send from")


def is_suspended(terms: Rule) -> bool:
    return terms.enabled


def may_send_from(terms: Rule, domain: str) -> bool:
    """`domain` in lower case A-labels."""
    return any(covers(pattern, domain) for pattern in terms.senders)


class ShareWeights:
    """The weight of each share of a queue: that of its priority class, times that of its tenant."""

    def __init__(self) -> None:
        self._tenants: dict[str, int] = {}  # those whose weight is not 1
        self._seen: Mapping[str, Rule] = {}

    def __call__(self, share: str) -> float:
        weight = weight_of(share)
        return weight * self._tenants.get(split_share(share)[0], 1) if self._tenants else weight

    def take(self, table: RuleTable) -> tuple[PastDot, ...]:
        """A hook of `Rules.on_change`: it ends no transaction, so it lists none."""
        if table.tenants is not self._seen:
            self._seen = table.tenants
            self._tenants = {name: terms.weight for name, terms in table.tenants.items() if terms.weight != 1}
        return ()
