"""The counts of one preview while the queues are walked."""

import random
from collections import Counter
from collections.abc import Sequence
from typing import Final

from mta.model.ids import delivery_text
from mta.model.previews import SampledDelivery, Tally
from mta.model.rules import NO_HEAD, Rule
from mta.policy.rule_effect import before_attempt
from mta.policy.rule_table import RuleTable, may_match
from mta.ports.sweeps import WaitingDelivery

_NAMED: Final = 100  # domains, and pools, that a preview names
_SAMPLE: Final = 20
_AGES: Final = ((60_000, "<1m"), (3_600_000, "<1h"), (86_400_000, "<1d"))  # since acceptance, in ms
_OLDER: Final = ">=1d"


class PreviewTally:
    """Counts for one rule. A delivery is matched by a rule table that holds this rule alone."""

    def __init__(self, rule: Rule, like: RuleTable, seed: int | None = None) -> None:
        """`like` is the table of this process: its protected tags and its clock count here, too."""
        self._rule = before_attempt(rule)
        self.table = like.rebuilt(NO_HEAD, [self._rule])
        self._random = random.Random(seed)
        self.seen = self.matched = 0
        self._domains: Counter[str] = Counter()
        self._pools: Counter[str] = Counter()
        self._states: Counter[str] = Counter({"queued": 0, "held": 0})
        self._ages: Counter[str] = Counter()
        self._sample: list[WaitingDelivery] = []
        self._held: set[bytes] = set()  # ids of sampled deliveries that a pause holds

    def may_match(self, pool: str, domain: str | None = None) -> bool:
        """Whether mail of that pool (and domain) could match with the right tags."""
        return may_match(self._rule.selectors, pool, domain)

    def count(self, page: Sequence[WaitingDelivery], state: str, now: int) -> None:
        """`state` is that of all deliveries of the page, `now` is Unix ms."""
        match = self.table.match
        self.seen += len(page)
        for waiting in page:
            pool, domain = waiting.queue
            if match(pool, "", domain, waiting.record.labels, "", "", waiting.record) is None:
                continue
            self.matched += 1
            self._domains[domain] += 1
            self._pools[pool] += 1
            self._states[state] += 1
            self._ages[_age(now - waiting.record.accepted_at)] += 1
            self._draw(waiting, state)

    def _draw(self, waiting: WaitingDelivery, state: str) -> None:
        """Each delivery that matches has the same chance to be in the sample."""
        at = len(self._sample)
        if at < _SAMPLE:
            self._sample.append(waiting)
        else:
            at = self._random.randrange(self.matched)
            if at >= _SAMPLE:
                return
            self._held.discard(self._sample[at].id)
            self._sample[at] = waiting
        if state == "held":
            self._held.add(waiting.id)

    def result(self) -> Tally:
        """The counts so far."""
        return Tally(
            seen=self.seen,
            matched=self.matched,
            by_domain=dict(self._domains.most_common(_NAMED)),
            domains=len(self._domains),
            by_pool=dict(self._pools.most_common(_NAMED)),
            by_state=dict(self._states),
            by_age={name: self._ages[name] for name in (*(name for _, name in _AGES), _OLDER) if self._ages[name]},
            sample=tuple(self._sampled(waiting) for waiting in self._sample),
        )

    def _sampled(self, waiting: WaitingDelivery) -> SampledDelivery:
        record = waiting.record
        return SampledDelivery(
            id=delivery_text(waiting.id),
            recipient=record.recipient,
            sender=record.sender,
            tags=record.tags,
            tenant=record.tenant,
            pool=waiting.queue.pool,
            held=waiting.id in self._held,
            attempts=record.attempts,
            accepted_at=record.accepted_at,
        )


def _age(ms: int) -> str:
    return next((name for bound, name in _AGES if ms < bound), _OLDER)
