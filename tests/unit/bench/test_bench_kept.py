"""How much of an earlier commit's rate is kept: the interval, and the exit status."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from bench import kept
from bench.__main__ import arguments
from bench.flow import Load
from bench.processes import RunVoid


def legs(rate: float, cpu: float) -> list[dict[str, Any]]:
    base = {"rate": 1000.0, "cpu_us": 100.0, "seconds": 6.0, "cpu_us_by_role": {"worker": 60.0, "valkey": 40.0}}
    roles = {"worker": 100.0 * cpu - 41.0, "valkey": 41.0}
    here = base | {"rate": 1000.0 * rate, "cpu_us": 100.0 * cpu, "cpu_us_by_role": roles}
    return [{"start": number // 2 + 1, "base": base, "here": here} for number in range(10)]


def test_the_interval_holds_the_median_and_is_the_same_each_time() -> None:
    ratios = [0.9, 0.95, 0.97, 0.98, 1.0, 1.0, 1.01, 1.02, 1.05, 1.3]
    found = kept._interval([[ratio] for ratio in ratios])
    assert found["least"] == 0.9 <= found["from"] < found["median"] == 1.0 < found["to"] <= found["most"] == 1.3
    assert found == kept._interval([[ratio] for ratio in ratios])
    assert kept._interval([[0.5] * 2] * 5) == dict.fromkeys(("median", "from", "to", "least", "most"), 0.5)


def test_pairs_of_one_start_make_the_interval_no_narrower() -> None:
    starts = [[0.8] * 8, [1.0] * 8]
    assert (kept._interval(starts)["from"], kept._interval(starts)["to"]) == (0.8, 1.0)


@pytest.mark.parametrize(("rate", "cpu", "status"), [(0.99, 1.02, 0), (0.9, 1.02, 1), (0.99, 1.1, 1)])
def test_the_exit_status_says_whether_enough_is_kept(
    rate: float, cpu: float, status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "_pairs", lambda *_: legs(rate, cpu))
    given = arguments(["kept", "HEAD", "--data-dir", "/var/tmp", "--results", str(tmp_path)])
    assert kept.COMMAND.main(given) == status
    (page,) = tmp_path.glob("*.md")
    assert f"this tree by the base: {rate}" in page.read_text()
    assert "| valkey | 40.0 | 41.0 |" in page.read_text()


def test_nodes_are_started_anew_every_few_pairs_and_all_orders_alternate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    did: list[str] = []

    def leg_of(name: str) -> Callable[[Load], dict[str, Any]]:
        def leg(load: Load) -> dict[str, Any]:
            did.append(f"{name} {load.messages}")
            return {"rate": 100.0}

        return leg

    @contextlib.contextmanager
    def nodes(load: Load, builds: Mapping[str, Path], place: Path) -> Iterator[dict[str, Any]]:
        did.append(f"{place.name}: {' '.join(builds)}")
        yield {name: leg_of(name) for name in builds}

    monkeypatch.setattr(kept, "_nodes", nodes)
    pairs = kept._pairs(Load(5, 4096, 40, 5, 2, []), tmp_path, tmp_path, 3, 2, 6.0)
    assert [pair["start"] for pair in pairs] == [1, 1, 2]
    assert did == [
        *("start-1: base here", "base 5", "here 5", "base 600", "here 600", "here 600", "base 600"),
        *("start-2: here base", "here 5", "base 5", "base 600", "here 600"),
    ]


class HistoryNode:
    """Answers the first page of messages, up to a later time at each question."""

    def __init__(self, *answers: tuple[int, str]) -> None:
        self._answers = iter(answers)

    def call(self, method: str, path: str) -> tuple[int, Any]:
        status, as_of = next(self._answers)
        return status, {"as_of": as_of}


def test_a_leg_ends_when_history_has_its_last_event(monkeypatch: pytest.MonkeyPatch) -> None:
    last = 1_800_000_000.0
    clock = iter([last + 0.5, last + 0.75, last + 40.0])
    monkeypatch.setattr(kept.time, "time", lambda: next(clock))
    monkeypatch.setattr(kept.time, "sleep", lambda seconds: None)
    behind, there = (200, "2027-01-15T07:59:59.999Z"), (200, "2027-01-15T08:00:00.000Z")
    assert kept._history_caught_up(HistoryNode(behind, there), last) == 0.75  # type: ignore[arg-type]
    with pytest.raises(RunVoid, match="no more than the events of 2027-01-15T07:59:59"):
        kept._history_caught_up(HistoryNode(behind), last)  # type: ignore[arg-type]


def test_a_node_without_history_ends_a_leg_with_its_log() -> None:
    assert kept._history_caught_up(HistoryNode((503, "")), 0.0) == 0.0  # type: ignore[arg-type]


def test_what_is_no_commit_is_refused() -> None:
    with pytest.raises(SystemExit, match="is no commit of this clone"):
        kept._commit("no-such-commit")
