import struct
import sys
from pathlib import Path

import pytest

from bench import plots


def size_of(png: Path) -> tuple[int, int]:
    head = png.read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", head[16:24])
    return width, height


def test_a_flow_is_drawn_in_two_panels_and_small(tmp_path: Path) -> None:
    seconds = 60
    waiting = {"at": [s + 0.3 for s in range(seconds)], "queued": [s * 10.0 for s in range(seconds)]}
    waiting["journal_backlog"] = [float(s % 7) for s in range(seconds)]
    rates = {"intake": [3000.0 + s % 9 for s in range(seconds)], "received": [2900.0 + s % 5 for s in range(seconds)]}
    assert plots.flow(tmp_path / "a.png", "main", rates | waiting)
    width, height = size_of(tmp_path / "a.png")
    assert (width, height) == (810, 576)
    assert (tmp_path / "a.png").stat().st_size < 60_000


def test_a_curve_is_drawn_over_anything(tmp_path: Path) -> None:
    series = {"messages/s": [(1.0, 5000.0), (100_000.0, 4800.0)], "of it": [(1.0, 4.0)]}
    assert plots.curve(tmp_path / "b" / "c.png", "rate over rules", "rules", series, "messages/s", log_x=True)
    assert size_of(tmp_path / "b" / "c.png") == (810, 288)


def test_without_what_draws_there_is_no_plot_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert not plots.curve(tmp_path / "d.png", "x", "y", {})
    assert "no plot d.png: matplotlib is not installed" in capsys.readouterr().err
    assert not (tmp_path / "d.png").exists()
