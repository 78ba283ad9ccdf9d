"""The benchmark against a real node, in miniature: its figures mean nothing, its checks do.

The scenarios that take longest are left to `make bench`.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import idle, relay_page, scenario_file, sweep
from bench.__main__ import arguments
from bench.relay import scenarios_of
from bench.report import summary, summary_of
from bench.scenario_run import run

LOAD = ["--size", "1024", "--sessions", "5", "--messages", "500", "--window", "1", "--calibrate", "100"]
NOT_ASKED = {"all_rate", "all_seconds", "half_looked", "half_rate", "half_seconds", "journal", "bytes", "filled"}
MINIATURE = """
about = "Large and small, two recipients each, over TLS, deferred and late; canceled in the middle."
[load]
messages = 200
sizes = [[1024, 0.9], [102400, 0.1]]
sessions = 5
recipients = 2
reconnect = true
[destination]
delay_ms = 5
defer = 20
tls = true
[node]
settings = ['delivery.retries=["1s"]']
[shape]
rules = 10
cancel_at = 0.4
"""


@pytest.fixture
def root() -> Iterator[Path]:
    """Short: the name of the embedded server's socket in it has little room."""
    with tempfile.TemporaryDirectory(prefix="fg-") as folder:
        yield Path(folder)


def test_a_sweep_has_every_figure_and_can_be_told(root: Path) -> None:
    scenario = sweep.SCENARIO
    given = arguments(["sweep", "--case", "beside", *LOAD])
    told: list[str] = []
    found = scenario.run(scenario.load(given), given, root, told.append)
    assert set(scenario.figures) - set(summary_of([found], scenario)) == NOT_ASKED
    assert any(line.startswith("| worker | ") for line in scenario.lines(found))
    assert found["server"]
    assert told
    assert list(root.iterdir()) == []  # nothing is left of a run that is not void


def test_a_scenario_file_does_all_that_it_says(root: Path) -> None:
    path = root / "all.toml"
    path.write_text(MINIATURE)
    told: list[str] = []
    found = run(scenario_file.read(path), root, told.append)
    figures = summary([found], relay_page.FIGURES)
    assert figures["rate"]["median"] * 2 == figures["deliveries_rate"]["median"]
    assert found["cancel"]["delivered"] + found["intercepted"] == 400
    assert found["intercepted"] > 0
    assert found["cancel"]["received_after_unlisted"] == 0
    assert found["created"]["rules"] == 10
    assert found["deferred_at_sink"] > 0
    # Those that the cancel made needless may have ended before their handshake: a worker opens five at the same time.
    assert 0 <= found["connections"] - found["secured_connections"] <= 10
    assert found["secured_connections"] > 0
    assert sum(found["over_time"]["intake"]) == 200
    assert {"worker", "valkey", "journal", "sweeper", "control_api", "source", "sink"} <= set(found["processes"])
    assert all(use["peak_rss_mib"] > 0 for use in found["processes"].values())
    assert any("past their dot" in line for line in told)
    assert list(root.iterdir()) == [path]


def test_a_backlog_waits_and_drains(root: Path) -> None:
    given = arguments(["backlog", "--messages", "2000"])  # of few the noise of the server's buffers would be a part
    (scenario,) = scenarios_of(given)
    found = run(scenario, root, lambda line: None)
    assert found["bytes_per_delivery"] > 50
    assert found["due_after_s"] > 0.5
    # A sample may fall behind the drain, which takes less than the time between two.
    assert all(0 <= queued <= 2000 for queued in found["over_time"]["queued"])


def test_an_idle_node_is_watched_by_process(root: Path) -> None:
    scenario, load = idle.SCENARIO, ["--size", "1024", "--sessions", "5"]
    given = arguments(["idle", *load, "--messages", "20", "--waiting", "10", "--rest", "1", "--seconds", "1"])
    run = scenario.run(scenario.load(given), given, root, lambda line: None)
    assert set(scenario.figures) <= set(summary_of([run], scenario))
    assert {"node", "valkey", "worker", "worker 2", "journal"} <= set(run["idle"])
    assert 0 < run["percent_of_a_core"] < 100
    assert list(root.iterdir()) == []
