"""A point of the benchmark's curves in miniature, on a server outside the node."""

import tempfile
from pathlib import Path

import pytest

from bench.flow import Load
from bench.scale_fleet import Shape
from bench.scale_point import measure


def test_a_node_on_a_server_of_its_own_proves_all_that_a_fleet_must_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.scale_proof._WITHIN", 120.0)
    shape = Shape(1, Load(100, 1024, 5, 5, 1, ["api.wait=50s"]), store="single", orders=2, proved=True)
    with tempfile.TemporaryDirectory(prefix="fg-") as folder:
        point = measure(Path(folder), shape, lambda text: None)
    assert point["lanes"] == [[0, 1, 2, 3]]
    assert point["masters"][0]["calls"] > 0
    assert point["orders"]["statuses"] == {"201": 2}
    assert point["proof"] == {"held": 600, "intercepted": 600, "canceled": 600}


def test_six_masters_are_all_used_where_there_are_lanes_enough() -> None:
    shape = Shape(6, Load(120, 1024, 1, 5, 1, ["redis.lanes=64"]), store="cluster", masters=6)
    with tempfile.TemporaryDirectory(prefix="fg-") as folder:
        point = measure(Path(folder), shape, lambda text: None)
    assert sorted(lane for some in point["lanes"] for lane in some) == list(range(64))
    assert len(point["masters"]) == 6
    assert all(one["aof"] > 0 and one["calls"] > 0 for one in point["masters"]), "each has written mail"
