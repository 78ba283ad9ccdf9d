"""Modules in the current folder are never taken for ours or for those of our libraries (K7)."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.node import Node, running

TRAPS = ("orjson", "redis", "click", "mta", "control_api", "uvloop", "msgspec", "aiohttp")


@pytest.fixture
def trapped(tmp_path: Path) -> Path:
    """A folder with a module of the name of each library, which writes down that it was run."""
    folder = tmp_path / "trap"
    for name in TRAPS:
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text(
            f"open({str(tmp_path / 'sprung')!r}, 'a').write({name!r} + '\\n')\nraise ImportError('the trap')\n"
        )
    return folder


def script() -> str:
    return os.path.join(os.path.dirname(sys.executable), "floodgate")


def sprung(tmp_path: Path) -> str:
    path = tmp_path / "sprung"
    return path.read_text() if path.exists() else ""


def test_k7_no_process_of_a_node_runs_a_module_of_the_current_folder(
    trapped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(trapped)
    node = Node(tmp_path / "n1", workers=1)
    node.words = [script(), *node.words[3:]]
    with running(node):
        assert node.call("GET", "/v1/errors") == (200, [])
        assert sprung(tmp_path) == ""


@pytest.mark.parametrize("words", [["config", "check"], ["errors", "list"], ["send", "--help"], ["demo", "--help"]])
def test_k7_no_command_runs_a_module_of_the_current_folder(words: list[str], trapped: Path, tmp_path: Path) -> None:
    environ = os.environ | {"FLOODGATE_URL": "http://127.0.0.1:1", "FLOODGATE_TOKEN": "t", "HOME": str(tmp_path)}
    ran = subprocess.run([script(), *words], cwd=trapped, env=environ, capture_output=True, text=True, timeout=60)
    assert "Traceback" not in ran.stderr
    assert sprung(tmp_path) == ""


def test_k7_nor_does_python_m_run_a_library_of_the_current_folder(trapped: Path, tmp_path: Path) -> None:
    (trapped / "mta" / "__init__.py").unlink()
    (trapped / "mta").rmdir()  # `python -m mta` itself looks here first: that is what -m means
    words = [sys.executable, "-m", "mta.cli.main", "config", "show", "--json"]
    ran = subprocess.run(words, cwd=trapped, capture_output=True, text=True, timeout=60)
    assert json.loads(ran.stdout)["redis"]["url"] == "embedded"
    assert sprung(tmp_path) == ""
