"""The outcomes that the settler counts for brakes."""

import msgspec
import pytest

from mta.model.brakes import Brake, Metric
from mta.model.mail import QueueKey
from mta.model.outcomes import Forced, Origin, Outcome, Reply, Stage, Verdict
from mta.model.replies import Known
from mta.model.rules import Kind, Rule, Selectors
from mta.policy.brakes import Watched
from mta.policy.shaping import Shaping
from mta.scheduling.settler import Settler
from tests.support.scheduling import NOW, SETTINGS, FakeClaims, FakeRules, a_claim

BOUNCED = Outcome(Verdict.PERMANENT, Reply(550, "5.1.1", "no"), Origin.REMOTE, known=Known("bad_mailbox", "recipient"))
DELIVERED = Outcome(Verdict.DELIVERED, Reply(250), Origin.REMOTE)
LATER = Outcome(Verdict.TEMPORARY, Reply(451, "4.7.1", "later"), Origin.REMOTE)
FORCED = msgspec.structs.replace(LATER, origin=Origin.FORCED, forced=Forced("r1", 0, Stage.ATTEMPT))
INTERCEPTED = msgspec.structs.replace(FORCED, verdict=Verdict.INTERCEPTED)
HELD = msgspec.structs.replace(FORCED, verdict=Verdict.HELD)
RETURNED = Outcome(Verdict.RETURNED, Reply(0), Origin.LOCAL)
ALL = (BOUNCED, DELIVERED, LATER, FORCED, INTERCEPTED, HELD, RETURNED)


async def counted(metric: Metric | None, *outcomes: Outcome) -> list[tuple[list[int], list[int]]]:
    """The numbers that count and those that failed, of each call of the store; metric None: there is no brake."""
    claims = FakeClaims()
    rule = Rule("", Selectors(tag="any"), kind=Kind.PAUSE)
    brakes = [] if metric is None else [Brake("b1", metric, 0.1, 10, 60.0, rule, tag="t")]
    watched = Watched(brakes, 1)
    settler = Settler(
        claims, FakeRules(), SETTINGS, Shaping(SETTINGS), lambda lane: None,  # type: ignore[no-untyped-call]
        watched=lambda: watched, clock=lambda: NOW, chance=lambda: 0.5,
    )  # fmt: skip
    for outcome in outcomes:
        settler.settle(a_claim(), outcome)  # type: ignore[no-untyped-call]
    await settler.flush()
    return [(rate.counted, rate.hits) for rates in claims.rates for rate in rates]


@pytest.mark.parametrize(
    ("metric", "wanted"),
    [
        (Metric.HARD_BOUNCE, ([1, 2], [1])),
        (Metric.UNKNOWN_USER, ([1, 2], [1])),
        (Metric.BLOCK, ([1, 2], [])),
        (Metric.DEFERRAL, ([1, 2, 3], [3])),
    ],
)
async def test_ends_and_deferrals_by_destinations_count_and_those_by_orders_not(
    metric: Metric, wanted: tuple[list[int], list[int]]
) -> None:
    assert await counted(metric, *ALL) == [wanted]


async def test_a_brake_for_a_site_counts_the_deliveries_to_its_domains() -> None:
    claims = FakeClaims()
    rule = Rule("", Selectors(tag="any"), kind=Kind.PAUSE)
    watched = Watched([Brake("b1", Metric.HARD_BOUNCE, 0.1, 10, 60.0, rule, tag="t", site="big")], 1)
    settler = Settler(
        claims, FakeRules(), SETTINGS, Shaping(SETTINGS), lambda lane: None,  # type: ignore[no-untyped-call]
        site_of={"example.com": "big"}.get, watched=lambda: watched, clock=lambda: NOW, chance=lambda: 0.5,
    )  # fmt: skip
    for domain in ("example.com", "other.test", "example.com"):
        settler.settle(a_claim(queue=QueueKey("p", domain)), BOUNCED)  # type: ignore[no-untyped-call]
    await settler.flush()
    assert [rate.counted for rates in claims.rates for rate in rates] == [[1, 3]]


async def test_a_batch_of_which_nothing_counts_tells_nothing() -> None:
    assert await counted(Metric.HARD_BOUNCE, LATER, RETURNED) == []
    assert await counted(None, *ALL) == []
