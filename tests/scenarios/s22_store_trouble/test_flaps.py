"""The store's connections are cut at random bytes while mail comes and goes (minutes of it: `make flaps`)."""

from pathlib import Path

from tests.flaps import story


def test_k2_connections_that_flap_cost_no_mail_no_copy_and_no_process(tmp_path: Path) -> None:
    evidence = story.run(4.0, 1, tmp_path)
    assert story.failures(evidence) == [], story.summary(evidence)
