import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from bench.__main__ import COMMANDS, arguments
from bench.log_tail import LogTail
from bench.scale_curves import CURVES
from bench.scale_page import as_page
from bench.scaling import Costs, fleet_limits, newest, node_limits, per_rule
from bench.scaling import as_page as scaling_page
from bench.servers import placed, shares

COSTS = Costs(
    worker=200.0,
    server=50.0,
    loop=80.0,
    cycles=0.1,
    calls=0.2,
    journal=25.0,
    others=1.0,
    net_in=5000.0,
    net_out=4000.0,
    aof=5000.0,
    size=4096,
)


def run(**other: Any) -> dict[str, Any]:
    master = {"cpu_us": 50.0, "loop_us": 80.0, "cycles": 0.1, "calls": 0.2, "net_in": 1.0, "net_out": 1.0, "aof": 1.0}
    used = {"messages": 10, "cpu_us": {"worker": 200.0, "valkey": 50.0, "journal": 25.0, "node": 1.0}}
    used["peak_mib"] = {"worker": 40.0, "valkey": 10.0}
    return used | {
        "rate": 4000.0,
        "intake_rate": 4100.0,
        "dot_to_reply_ms": {"p50": 5.0, "p99": 9.0},
        "handover_to_receipt_ms": {"p50": 10.0, "p99": 19.0},
        "server_mib": 3.0,
        "masters": [master],
        "lanes": [[0, 1, 2, 3]],
        "ready_after_s": 1.0,
        "complaints": ["2 x WARNING mta: it is late"],
        "worker_mib_at_start": 40.0,
        "drain": used | {"rate": 3000.0, "seconds": 1.0, "bytes_per_delivery": 300.0, "connections": 7},
        **other,
    }


def result(date: str, *names: str) -> dict[str, Any]:
    curves = {}
    for name in names:
        points = [{"x": 1, "runs": [run()]}, {"x": 2, "runs": [run(rate=2000.0), run(rate=3000.0)]}]
        curve = CURVES[name]
        curves[name] = {
            "title": curve.title,
            "x_label": curve.x_label,
            "log_x": curve.log_x,
            "points": points,
            "void": [f"{name} 3: it broke"],
        }
    waiting = {
        "deliveries": 5,
        "accepted_per_second": 2.0,
        "dot_to_reply_ms": {"p99": 1.0},
        "bytes_per_delivery": 300.0,
    }
    if "waiting" in names:
        curves["waiting"]["points"][1]["runs"] = [run(waiting=waiting)]
    return {
        "name": "scale",
        "command": "scale",
        "date": date,
        "commit": {"commit": "0123456789abcdef"},
        "machine": {
            "cores": 2,
            "processor": "one",
            "memory_gib": 4.0,
            "kernel": "6",
            "python": "3.11",
            "versions": {"floodgate-mta": "1"},
        },
        "load": {"messages": 10, "size": 4096, "sessions": 40, "domains": 5, "repeat": 2},
        "settings": [],
        "fdatasync_ms": {"p50": 0.2, "p99": 0.4},
        "curves": curves,
    }


def test_the_slots_are_shared_out_without_a_gap() -> None:
    for masters in (1, 3, 7):
        parts = shares(masters)
        assert parts[0][0] == 0
        assert parts[-1][1] == 16383
        assert all(last + 1 == first for (_, last), (first, _) in itertools.pairwise(parts))


def test_the_lanes_lie_on_all_of_three_masters_and_four() -> None:
    lanes = [str(lane) for lane in range(4)]
    assert placed(lanes, 3) == [["3"], ["1", "2"], ["0"]]
    assert sorted(map(len, placed(lanes, 4))) == [1, 1, 1, 1]


def test_a_log_may_be_several(tmp_path: Path) -> None:
    logs = [tmp_path / "one", tmp_path / "other"]
    tail = LogTail(logs, "Delivery")
    logs[0].write_text('{"type":"Delivery","id":"A.1"}\n')
    assert tail.count() == (1, 1)
    logs[1].write_text('{"type":"Delivery","id":"A.1"}\n{"type":"Delivery","id":"B.1"}\n')
    assert tail.count() == (3, 2)


def test_the_points_of_each_curve_rise() -> None:
    given = arguments(["scale", "--messages", "500", "--most-rules", "1000"])
    for curve in CURVES.values():
        shapes = curve.shapes(given, 2)
        assert [shape.x for shape in shapes] == sorted({shape.x for shape in shapes}), curve.name
    assert [shape.rules for shape in CURVES["rules"].shapes(given, 2)] == [0, 100, 1000]
    assert [shape.drained for shape in CURVES["domains"].shapes(given, 2)] == [500, 500, 5000, 100_000]
    assert [shape.nodes * shape.load.workers for shape in CURVES["nodes"].shapes(given, 2)] == [2, 2]


def test_a_curve_that_nobody_knows_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        arguments(["scale", "speed"])
    assert "speed is none of workers, nodes" in capsys.readouterr().err


def test_a_node_is_limited_by_what_its_cores_and_its_servers_thread_do() -> None:
    rates = {limit.what: limit.rate for limit in node_limits(COSTS, 16)}
    assert rates["worker processes"] == 13 * 5000
    assert rates["the server's one thread, CPU alone"] == 20_000
    assert rates["the server's one thread with its waits for the disk, batched as measured"] == 12_500
    assert rates["the journal, one process"] == 40_000


def test_a_cluster_is_limited_by_the_master_with_most_lanes() -> None:
    rates = {limit.what: limit.rate for limit in fleet_limits(COSTS, COSTS._replace(server=60.0), 10, 16, 4)}
    assert rates["worker processes"] == 140 * 5000
    assert rates["journals, each with lanes of its own"] == 160_000
    assert rates["Redis Cluster of 3 masters, the one with most lanes"] == pytest.approx(1e6 / 30)
    assert rates["Redis Cluster of 4 masters, the one with most lanes"] == pytest.approx(1e6 / 15)


def test_the_memory_of_a_rule_is_what_the_workers_grew() -> None:
    points = [
        {"x": 0, "runs": [{"worker_mib_at_start": 40.0}]},
        {"x": 1024, "runs": [{"worker_mib_at_start": 41.0}]},
    ]
    assert per_rule({"points": points}) == 1024.0


def test_the_page_of_a_result_has_a_table_for_each_curve() -> None:
    page = as_page(result("2026-01-01T00:00:00Z", "workers", "domains"))
    assert "| 2 | 2,500 (2,000 to 3,000) | 0.625 | 4,100 | 5.0 / 9.0 | 10 / 19 | 200 | 50 | 25 | 1 | 40 / 10 |" in page
    assert "- 2: 10 messages queued first, all due at one instant: drained at 3,000 messages/s" in page
    assert "- 2: a node said: 2 x WARNING mta: it is late" in page
    assert "- Void: workers 3: it broke" in page


def test_scaling_takes_each_curve_from_the_newest_result_that_has_it(tmp_path: Path) -> None:
    others = ("nodes", "masters", "rules", "waiting", "domains")
    (tmp_path / "b.json").write_text(json.dumps(result("2026-01-01T00:00:00Z", "workers", *others)))
    (tmp_path / "a.json").write_text(json.dumps(result("2026-01-02T00:00:00Z", "workers")))
    curves = newest(tmp_path)
    assert (curves["workers"]["from"]["file"], curves["nodes"]["from"]["file"]) == ("a.json", "b.json")
    assert (
        COMMANDS["scaling"].main(
            arguments(["scaling", "--results", str(tmp_path), "--page", str(tmp_path / "SCALING.md")])
        )
        == 0
    )
    page = (tmp_path / "SCALING.md").read_text()
    assert page == scaling_page(curves)
    assert "| worker processes | (cores - 3) / worker CPU = 13 / 200 us | 65,000 |" in page


def test_scaling_says_which_curves_were_never_measured(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(result("2026-01-02T00:00:00Z", "workers")))
    with pytest.raises(SystemExit, match="has domains, masters, nodes, rules, waiting"):
        newest(tmp_path)
