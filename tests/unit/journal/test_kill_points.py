"""Journals that were killed with SIGKILL at the worst moments, and what their successors make of it."""

import json
import subprocess
import sys

import pytest

from tests.support.killed_journal import POINTS
from tests.support.sources import ROOT

COUNT = 120


def run(folder, point):
    command = [sys.executable, "-m", "tests.support.killed_journal", str(folder), point, str(COUNT)]
    return subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("point", POINTS)
def test_k17_a_killed_journals_events_are_in_the_log_once_in_order(tmp_path, point):
    killed = run(tmp_path, point)
    assert killed.returncode == -9, killed.stderr
    after = run(tmp_path, "none")
    assert after.returncode == 0, after.stderr
    files = sorted((tmp_path / "log").iterdir())
    lines = [json.loads(line) for file in files for line in file.read_bytes().splitlines()]
    assert [line["text"] for line in lines] == [f"event {n}" for n in range(1, COUNT + 1)]
    assert ("cut off" in after.stderr) == (point == "while the spool is written")
