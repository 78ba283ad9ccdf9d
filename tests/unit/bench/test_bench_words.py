"""The texts that a user of the benchmark reads (R11)."""

import json
import subprocess
import sys

import pytest

from bench import __main__ as harness
from bench import report
from bench.command import RESULTS, ROOT
from bench.relay_page import FIGURES

_WITHOUT = """
import sys
class Nothing:
    def find_spec(self, name, path=None, target=None):
        if name == {package!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Nothing())
import bench.__main__
"""


@pytest.mark.parametrize("package", ["aiohttp", "msgspec", "psutil", "redis"])
def test_r11_a_package_that_is_not_installed_is_one_sentence(package: str) -> None:
    run = subprocess.run(
        [sys.executable, "-c", _WITHOUT.format(package=package)], cwd=ROOT, capture_output=True, text=True
    )
    told = f"python -m bench: the package {package} is not installed; run `make bench`, which installs it\n"
    assert (run.returncode, run.stdout, run.stderr) == (1, "", told)


def test_r11_each_command_says_how_long_it_takes() -> None:
    for command in harness.COMMANDS.values():
        assert command.takes.split()[-1] in {"second", "minute", "minutes", "scenario"}, command.name


def test_r11_results_are_written_outside_of_the_checkout() -> None:
    assert harness.arguments([]).results == RESULTS
    assert not RESULTS.is_relative_to(ROOT)


def test_r11_the_table_of_a_terminal_is_80_columns_wide() -> None:
    found = {name: {"median": 123456.789, "least": 0.0001, "most": 1234567.8} for name in FIGURES}
    lines = report.plain_table(found, FIGURES)
    assert max(map(len, lines)) <= 80
    text = "\n".join(lines)
    assert all(figure.label.split()[0] in text for figure in FIGURES.values())
    assert text.count("123,456.789") == len(FIGURES)


@pytest.mark.parametrize(
    "result",
    [
        {},
        [],
        {"a": [1.5] * 300, "b": {"c": "x" * 200, "d": []}, "e": [{"f": None, "g": [True]}, {}], "ä": ["n  n", "[,]"]},
    ],
)
def test_r11_a_result_is_json_in_short_lines(result: object) -> None:
    text = report.as_json(result)
    assert json.loads(text) == result
    assert all(len(line) <= 120 or "xxx" in line for line in text.splitlines())
    assert len(text.splitlines()) < 30
