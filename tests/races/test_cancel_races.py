"""Cancellations of single messages race their delivery; `make races` runs more seeds of the same."""

from pathlib import Path

import pytest

from tests.races.cancel_race import run_seed
from tests.races.cancel_verdict import failures

MESSAGES = 800


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_what_was_canceled_never_arrives_and_every_answer_is_true(seed: int, tmp_path: Path):
    assert failures(await run_seed(seed, MESSAGES, tmp_path)) == []
