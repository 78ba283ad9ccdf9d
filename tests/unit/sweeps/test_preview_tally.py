"""The counts of a preview: the deliveries that a rule would match, by what distinguishes them."""

import pytest

from mta.model.ids import delivery_id, new_message_id
from mta.model.mail import QueueKey, Record
from mta.model.rules import Rule, Selectors
from mta.policy.rule_table import RuleTable
from mta.ports.sweeps import WaitingDelivery
from mta.sweeps.preview_tally import PreviewTally

HOUR, DAY = 3_600_000, 86_400_000
NOW = 100 * DAY


def waiting(domain: str, *tags: str, pool: str = "p", age: int = 0, tenant: str = "") -> WaitingDelivery:
    record = Record("s@example.net", f"u@{domain}", tags, 10, NOW - age, NOW + 1, tenant=tenant)
    return WaitingDelivery(delivery_id(new_message_id(0, 1), 1), QueueKey(pool, domain), 1, record, 0)


def tally(like: RuleTable | None = None, **selectors: object) -> PreviewTally:
    rule = Rule("", Selectors(**selectors), 554)  # type: ignore[arg-type]
    return PreviewTally(rule, RuleTable.empty() if like is None else like, seed=1)


def test_deliveries_are_counted_by_domain_pool_state_and_age() -> None:
    counts = tally(tag="camp")
    counts.count([waiting("a.example", "camp", age=10), waiting("b.example", "camp", age=2 * HOUR)], "queued", NOW)
    counts.count([waiting("a.example", "camp", pool="q", age=3 * DAY), waiting("a.example", "other")], "held", NOW)
    found = counts.result()
    assert (found.seen, found.matched, found.domains) == (4, 3, 2)
    assert found.by_domain == {"a.example": 2, "b.example": 1}
    assert found.by_pool == {"p": 2, "q": 1}
    assert found.by_state == {"queued": 2, "held": 1}
    assert found.by_age == {"<1m": 1, "<1d": 1, ">=1d": 1}
    assert sorted((one.recipient, one.held) for one in found.sample) == [
        ("u@a.example", False),
        ("u@a.example", True),
        ("u@b.example", False),
    ]


def test_protected_tags_and_tenants_count_as_at_an_order() -> None:
    counts = tally(RuleTable.empty("", ("paid",)), tag="camp", tenant="acme")
    page = [
        waiting("a.example", "camp", tenant="acme"),
        waiting("a.example", "camp", "paid", tenant="acme"),
        waiting("a.example", "camp", tenant="other"),
    ]
    counts.count(page, "queued", NOW)
    assert counts.result().matched == 1


@pytest.mark.parametrize("known_later", [{"mta": "192.0.2.1"}, {"ip": "192.0.2.1"}, {"mx": "mx.example"}])
def test_selectors_that_only_an_attempt_knows_leave_an_upper_bound(known_later: dict[str, str]) -> None:
    counts = tally(tag="camp", **known_later)
    counts.count([waiting("a.example", "camp"), waiting("a.example", "other")], "queued", NOW)
    assert counts.result().matched == 1


def test_the_sample_is_bounded_and_drawn_from_all() -> None:
    counts = tally(tag="camp")
    early, late = [waiting("a.example", "camp")] * 200, [waiting("b.example", "camp") for _ in range(2000)]
    counts.count(early, "queued", NOW)
    counts.count(late, "held", NOW)
    sample = counts.result().sample
    assert len(sample) == 20
    assert sum(one.held for one in sample) > 10
    assert all(one.held == one.recipient.endswith("@b.example") for one in sample)


def test_the_domains_named_are_those_with_most_deliveries() -> None:
    counts = tally(tag="camp")
    counts.count([waiting(f"d{n}.example", "camp") for n in range(300)], "queued", NOW)
    counts.count([waiting("big.example", "camp")] * 2, "queued", NOW)
    found = counts.result()
    assert found.domains == 301
    assert len(found.by_domain) == 100
    assert next(iter(found.by_domain.items())) == ("big.example", 2)
