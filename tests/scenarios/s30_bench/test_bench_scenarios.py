"""The benchmark against a real node, in miniature: its figures mean nothing, its checks do.

The scenarios that take longest are left to `make bench`.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import idle, relay, sweep
from bench.__main__ import arguments
from bench.report import summary_of

LOAD = ["--size", "1024", "--sessions", "5"]
SCENARIOS = {"relay": relay.SCENARIO, "sweep": sweep.SCENARIO, "idle": idle.SCENARIO}
WORDS = {
    "relay": ["--messages", "100"],
    "sweep": ["--messages", "500", "--window", "1", "--calibrate", "100", "--case", "beside"],
    "idle": ["--messages", "20", "--waiting", "10", "--rest", "1", "--seconds", "1"],
}
NOT_ASKED = {
    "sweep": {"all_rate", "all_seconds", "half_looked", "half_rate", "half_seconds", "journal", "bytes", "filled"}
}


@pytest.fixture
def root() -> Iterator[Path]:
    """Short: the name of the embedded server's socket in it has little room."""
    with tempfile.TemporaryDirectory(prefix="fg-") as folder:
        yield Path(folder)


@pytest.mark.parametrize("name", WORDS)
def test_a_run_has_every_figure_and_can_be_told(name: str, root: Path) -> None:
    scenario = SCENARIOS[name]
    given = arguments([name, *WORDS[name], *LOAD])
    told: list[str] = []
    run = scenario.run(scenario.load(given), given, root, told.append)
    assert set(scenario.figures) - set(summary_of([run], scenario)) == NOT_ASKED.get(name, set())
    assert any(line.startswith("| worker | ") for line in scenario.lines(run))
    assert run["server"]
    assert told
    assert list(root.iterdir()) == []  # nothing is left of a run that is not void
