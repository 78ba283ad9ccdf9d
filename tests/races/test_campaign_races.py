"""Two campaigns race an order that stops one of them; `make races` runs more seeds of the same."""

from pathlib import Path

import pytest

from tests.races.campaign_race import run_seed
from tests.races.plan import Fault, plan_of
from tests.races.verdict import failures

MESSAGES = 1200
SEEDS = {4: Fault.NONE, 1: Fault.KILLED, 7: Fault.LOST}


@pytest.mark.parametrize("seed", SEEDS)
async def test_an_order_stops_its_campaign_and_nothing_else(seed: int, tmp_path: Path):
    assert plan_of(seed, 0).fault is SEEDS[seed]
    evidence = await run_seed(seed, MESSAGES, tmp_path)
    assert failures(evidence) == []
