"""The store's connections are cut at random bytes while mail comes and goes (minutes of it: `make flaps`)."""

from pathlib import Path

import pytest

from tests.flaps import story


@pytest.mark.parametrize("seed", [1, 2])
def test_k2_connections_that_flap_cost_no_mail_no_copy_and_no_process(seed: int, tmp_path: Path) -> None:
    evidence = story.run(3.0, seed, tmp_path)
    assert story.failures(evidence) == [], story.summary(evidence)
