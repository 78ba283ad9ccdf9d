import json
from pathlib import Path
from typing import Any

import pytest

from bench import relay, sampler
from bench.__main__ import arguments
from bench.instants import between, per_second
from bench.plan import DuePlan
from bench.processes import RunVoid
from bench.scenario_cancel import Order, account


def made(rate: float, **more: Any) -> dict[str, Any]:
    """A run as the command gets it."""
    return {
        "rate": rate,
        "recipients": 1,
        "intake_rate": rate,
        "seconds": 2.0,
        "messages": 1000,
        "direct": {"rate": rate * 5},
        "of_direct": 0.2,
        "dot_to_reply_ms": {"p50": 5.0, "p99": 9.0, "p99.9": 10.0},
        "accepted_to_delivered_ms": {"p50": 6.0, "p99": 8.0, "p99.9": 11.0},
        "journal_caught_up_s": 0.1,
        "intercepted": 0,
        "duplicates": 0,
        "deferred_at_intake": 0,
        "connections": 7,
        "server": "Valkey",
        "processes": {
            "worker": {"cpu_seconds": 0.5, "peak_rss_mib": 40.0},
            "sink": {"cpu_seconds": 9.0, "peak_rss_mib": 20.0},
        },
        "fdatasync_ms": {"p50": 0.2},
        "over_time": {
            "intake": [500, 500],
            "received": [400, 500, 100],
            "at": [0.5, 1.5],
            "queued": [10.0, 0.0],
            "journal_backlog": [3.0, 1.0],
        },
    } | more


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the scenarios in the order of their runs; main goes at 100, 200, 300/s, all else at 90/s or is void."""
    order: list[str] = []

    def run(scenario: Any, root: Path, say: Any) -> dict[str, Any]:
        order.append(scenario.name)
        again = order.count(scenario.name)
        if scenario.name != "main" and again == 2:
            raise RunVoid("the statement is wrong")
        return made(100.0 * again if scenario.name == "main" else 90.0)

    monkeypatch.setattr(relay, "run", run)
    return order


def result_in(place: Path) -> dict[str, Any]:
    (data,) = place.glob("*.json")
    found: dict[str, Any] = json.loads(data.read_text())
    return found


def test_scenarios_take_turns_and_are_compared_within_each_turn(runs: list[str], tmp_path: Path) -> None:
    given = arguments(["main", "size-50k", "--results", str(tmp_path), "--data-dir", "/var/tmp"])
    assert relay.COMMAND.main(given) == 1
    assert runs == ["main", "size-50k"] * 3
    main, large = result_in(tmp_path)["scenarios"]
    assert main["summary"]["rate"] == {"median": 200.0, "least": 100.0, "most": 300.0}
    assert main["to_first"] is None
    assert large["to_first"] == {"median": 0.6, "least": 0.3, "most": 0.9}  # the second pair has a void run
    assert (len(large["runs"]), large["void"]) == (2, ["the statement is wrong"])


def test_a_page_begins_with_one_table_and_has_a_plot_of_each(runs: list[str], tmp_path: Path) -> None:
    given = arguments(["main", "tls", "--results", str(tmp_path), "--data-dir", "/var/tmp", "--repeat", "2"])
    relay.COMMAND.main(given)
    (path,) = tmp_path.glob("*.md")
    page = path.read_text()
    assert "| main | 150.0 | 150.0 | 0.2 | 5.0 / 9.0 | 6.0 / 8.0 | 0.5 | 1 | 2 (0) |" in page
    assert "| tls | 90.0 | 90.0 | 0.2 | 5.0 / 9.0 | 6.0 / 8.0 | 0.5 | 0.9 (0.9 to 0.9) | 2 (1) |" in page
    assert "Void: the statement is wrong" in page
    assert "| worker | 0.5 | 0.5 | 0.5 | 40.0 |" in page
    assert "STARTTLS; settings beside the defaults: `delivery.tls=required`." in page
    for name in ("main", "tls"):
        assert f"![{name} over time]({path.stem}-{name}.png)" in page
        assert (tmp_path / f"{path.stem}-{name}.png").is_file()


def test_a_result_goes_beside_older_ones_with_its_plot(runs: list[str], tmp_path: Path) -> None:
    given = arguments(["--results", str(tmp_path), "--data-dir", "/var/tmp", "--repeat", "1"])
    assert relay.COMMAND.main(given) == 0
    assert relay.COMMAND.main(given) == 0
    stems = sorted(path.stem for path in tmp_path.glob("*.json"))
    assert [stem.partition("relay")[2] for stem in stems] == ["", "-2"]
    assert sorted(path.stem for path in tmp_path.glob("*.png")) == stems


def test_a_scenario_that_is_not_there_is_told_without_a_run(runs: list[str]) -> None:
    with pytest.raises(SystemExit, match="no such scenario"):
        relay.COMMAND.main(arguments(["nothing"]))
    assert runs == []


ORDER = Order(sent_at=100.0, answered_at=100.3, effective_at=100.2, past_dot=frozenset({7}))
CANCELED = {"statement": {"delivered": 3, "intercepted": {"queued": 5}}}


def test_what_is_listed_may_arrive_after_a_cancel() -> None:
    found = account(ORDER, [99.0, 100.2005, 0.0, 100.5], CANCELED, recipients=2)  # 7 is of message 3
    assert (found["effective_ms"], found["received_after"], found["received_after_unlisted"]) == (200.0, 1, 0)


def test_a_receipt_after_a_cancel_that_is_not_listed_voids_the_run() -> None:
    with pytest.raises(RunVoid, match="1 messages were received after"):
        account(ORDER, [99.0, 100.4], CANCELED, recipients=2)


def test_times_are_of_messages_that_have_both() -> None:
    assert between([10.0, 0.0, 12.0, 13.0], [10.5, 11.0, 0.0, 12.5]) == [0.5, -0.5]


def test_seconds_are_counted_from_the_start_and_none_is_left_out() -> None:
    assert per_second([10.0, 10.9, 13.2, 0.0], 10.0) == [2, 0, 0, 1]
    assert per_second([0.0], 10.0) == []


def test_mail_that_is_due_at_one_instant_says_so() -> None:
    content = DuePlan(3, [1024], 2, 1, 1767323045).content(2)
    assert b"X-MQ-Delayed: 2026-01-02 03:04:05\r\n" in content.partition(b"\r\n\r\n")[0]
    assert len(content) == 1024 + len(b".\r\n")


def test_a_sample_is_what_is_queued_and_what_the_journal_has_left_in_all_lanes() -> None:
    text = """# HELP floodgate_journal_backlog Event entries.
floodgate_books_deliveries{class="queued"} 12.0
floodgate_books_deliveries{class="delivered"} 99.0
floodgate_journal_backlog{lane="0"} 3.0
floodgate_journal_backlog{lane="1"} 4.0
"""
    assert sampler.read(text) == (12.0, 7.0)
