import json
from pathlib import Path
from typing import Any

import pytest

from bench import orders, rules, sweep
from bench.__main__ import arguments
from bench.flow import Mark
from bench.log_tail import LogTail
from bench.orders import Given
from bench.ranks import percentiles
from bench.relay_page import FIGURES
from bench.report import as_page, summary, write
from bench.rest import Answer
from bench.scenario import Figure
from bench.sweep import Mass, order_field


def test_ranks_are_of_the_sorted_values() -> None:
    assert percentiles([float(value) for value in range(100, -1, -1)], 10.0) == {
        "p50": 500.0,
        "p90": 900.0,
        "p95": 950.0,
        "p99": 990.0,
        "p99.9": 1000.0,
        "max": 1000.0,
    }
    assert percentiles([]) == {}


def test_the_rate_between_two_marks() -> None:
    assert Mark(10.0, 500).rate_until(Mark(12.0, 1500)) == 500.0


def test_the_summary_is_median_and_spread_of_the_runs_that_have_the_figure() -> None:
    figures = {"rate": Figure("messages/s", lambda run: run["rate"]), "rare": Figure("?", lambda run: run.get("rare"))}
    runs: list[dict[str, Any]] = [{"rate": 5.0}, {"rate": 1.0, "rare": 7.0}, {"rate": 2.0}]
    assert summary(runs, figures) == {
        "rate": {"median": 2.0, "least": 1.0, "most": 5.0},
        "rare": {"median": 7.0, "least": 7.0, "most": 7.0},
    }


def test_the_cpu_of_a_relay_is_floodgate_and_its_server() -> None:
    processes = {"worker": {"cpu_seconds": 0.01}, "valkey": {"cpu_seconds": 0.02}, "sink": {"cpu_seconds": 9.0}}
    assert FIGURES["cpu_s_per_1000"].of({"messages": 100, "processes": processes}) == pytest.approx(0.3)


def test_a_log_is_read_on_from_where_it_was(tmp_path: Path) -> None:
    path = tmp_path / "delivery.jsonl"
    path.write_text('{"type":"Delivery","id":"OLD.1"}\n')
    tail = LogTail(path, "Delivery")
    with path.open("a") as log:
        log.write('{"type":"Delivery","id":"A.1"}\n{"type":"Delivery","id":"A.1"}\n')
        log.write('{"type":"Reception","id":"C.1","text":"\\"Delivery\\""}\n{"type":"Delivery","id":"D')
        log.flush()
        assert tail.count() == (2, 1)
        log.write('.1"}\n')
    assert tail.count() == (3, 2)
    assert tail.count() == (3, 2)


def test_a_log_may_appear_later(tmp_path: Path) -> None:
    path = tmp_path / "delivery.jsonl"
    tail = LogTail(path, "Intercepted")
    assert tail.count() == (0, 0)
    path.write_text('{"type":"Intercepted","id":"A.1"}\n')
    assert tail.count() == (1, 1)


def given(status: int, seconds: float, effective_after: float | None) -> Given:
    body = {} if effective_after is None else {"effective_at": f"2026-01-02T03:04:05.{int(effective_after * 1000):03}Z"}
    put = Answer(status, body, 1767323045.0, seconds)  # 2026-01-02T03:04:05Z
    return Given(put, Answer(200, {}, 0.0, 0.01))


def test_an_order_that_was_only_accepted_counts_and_has_no_effective_time() -> None:
    found = orders.account([given(201, 0.03, 0.02), given(201, 0.05, 0.04), given(202, 2.0, None)])
    assert found["statuses"] == {"201": 2, "202": 1}
    assert found["accepted_only"] == 1
    assert found["effective_ms"]["max"] == pytest.approx(40.0, abs=0.01)
    assert found["answer_ms"]["max"] == 2000.0


@pytest.mark.parametrize(("case", "matching"), [("all", 700), ("beside", 700), ("half", 400)])
def test_half_of_an_odd_number_of_messages_is_the_larger_half(case: str, matching: int) -> None:
    mass = Mass(650, 100, 512, 5)
    assert mass.messages == 7
    assert mass.matching(case) == matching


def test_a_field_of_an_order_is_json() -> None:
    assert order_field("undo=false") == ("undo", False)
    assert order_field('reason="a = b"') == ("reason", "a = b")


@pytest.mark.parametrize("words", [[], ["--messages", "5"], ["relay", "size-50k"], ["size-50k"]])
def test_without_a_scenario_it_is_the_relay(words: list[str]) -> None:
    assert arguments(words).command == "relay"


def test_every_scenario_has_a_name_of_its_own_and_a_load() -> None:
    for module in (orders, sweep, rules):
        name = module.SCENARIO.name
        parsed = arguments([name, "--workers", "3"])
        assert (parsed.command, module.SCENARIO.load(parsed).workers) == (name, 3)


def test_a_page_tells_figures_machine_and_what_was_void() -> None:
    phase = orders.account([given(201, 0.03, 0.02)])
    run: dict[str, Any] = {
        "maximum": 5000.0,
        "asked_rate": 4000.0,
        "rate_before": 4000.0,
        "rate_during": 3990.5,
        "idle": phase,
        "loaded": phase,
        "handover_to_receipt_ms": {"p50": 12.5},
        "fdatasync_ms": {"p50": 0.125},
        "messages": 1000,
        "processes": {"worker": {"cpu_seconds": 0.5, "peak_rss_mib": 40.0}},
    }
    result: dict[str, Any] = {
        "name": "orders",
        "date": "2026-01-02T03:04:05Z",
        "commit": {"commit": "abc", "changed_files": 0},
        "load": {"messages": 20_000, "size": 4096, "settings": ["rules.max_staleness=2s"]},
        "options": {"orders": 1, "share": 0.8},
        "machine": {
            "cores": 2,
            "processor": "P",
            "memory_gib": 4.0,
            "kernel": "6",
            "python": "3.11",
            "versions": {"floodgate-mta": "0.1"},
        },
        "file_system": {"type": "ext4", "device": "/dev/x"},
        "server": "Valkey",
        "summary": summary([run], orders.SCENARIO.figures),
        "runs": [run],
        "void": ["no receipt for 30 s"],
    }
    page = as_page(result, orders.SCENARIO)
    assert "| order to effective under load, p99, ms | 20.0 | 20.0 | 20.0 |" in page
    assert "at 80% of the rate that 20,000 messages reached" in page
    assert "3,990.5 while they came" in page
    assert "| worker | 0.5 | 0.5000 | 40.0 |" in page
    assert "`rules.max_staleness=2s`" in page
    assert "Data on ext4 (/dev/x)" in page
    assert page.endswith("Void: no receipt for 30 s\n")


def test_an_older_result_is_never_written_over(tmp_path: Path) -> None:
    first = write(tmp_path, "2026-01-02-relay", {"number": 1}, "one")
    second = write(tmp_path, "2026-01-02-relay", {"number": 2}, "two")
    assert (first.name, second.name) == ("2026-01-02-relay.md", "2026-01-02-relay-2.md")
    assert (first.read_text(), second.read_text()) == ("one", "two")
    assert json.loads((tmp_path / "2026-01-02-relay.json").read_text()) == {"number": 1}
