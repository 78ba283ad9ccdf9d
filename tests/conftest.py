"""Skips tests whose programs are missing, fails a CI run that skipped any, says which tests run side by side, and
shows the logs of nodes around a failure."""

import functools
import gc
import os
import pathlib
import sys
import time
from collections.abc import Generator, Sequence
from typing import Any

import hypothesis
import pytest
from xdist.scheduler import LoadFileScheduling

from tests.support.needs import tool

# Each run tries the same examples, and takes its time for them.
hypothesis.settings.load_profile("ci")

_YOUNG = 10_000  # new objects between two collections: fewer would cost a twentieth of the processor time
_SKIPPED: dict[str, str] = {}  # test -> why
_HEAVY = ("tests/races/", "tests/soak/", "tests/scenarios/s30_bench/", "tests/scenarios/s32_queue_shares/")
_TOGETHER = {"tests/architecture/": "architecture"} | dict.fromkeys(_HEAVY, "heavy")


class ByFile(LoadFileScheduling):
    """Tests of one file share what they have started, and so do those of a folder with a fixture for all its files.
    Tests that use a whole processor run one after the other, and tests of the tree read it once."""

    def _split_scope(self, nodeid: str) -> str:
        for folder, name in _TOGETHER.items():
            if nodeid.startswith(folder):
                return name
        file = str(super()._split_scope(nodeid))
        folder = self.config.rootpath / file.rpartition("/")[0]
        return str(folder) if _has_one_place(folder) else file


@functools.cache
def _has_one_place(folder: pathlib.Path) -> bool:
    conftest = folder / "conftest.py"
    return conftest.exists() and 'scope="package"' in conftest.read_text()


@pytest.fixture
def one_hour() -> None:
    """The hour, and so the day, does not end while a test runs, unless that takes more than half a minute."""
    while time.time() % 3600 > 3570:
        time.sleep(0.1)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFile | None:
    return ByFile(config, log) if config.getoption("dist") == "loadfile" else None


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Generator[None, object, object]:
    """Modules and tests live as long as the process: the garbage collector never looks at them."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.set_threshold(_YOUNG, 10, 10)
        gc.enable()


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    for item in items:
        for mark in item.iter_markers("needs"):
            if tool(mark.args[0]) is None:
                item.add_marker(pytest.mark.skip(reason=f"{mark.args[0]} is not installed"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failure shows the ends of the logs of the nodes around it, so that its output is enough to understand it."""
    report = yield
    support = sys.modules.get("tests.support.node")
    if report.failed and support is not None:
        load = " ".join(f"{figure:.1f}" for figure in os.getloadavg())
        for node in sorted(support.NODES, key=lambda node: node.name):
            if node.process is not None or node.test == item.nodeid:
                report.sections.append((f"node {node.name} of {node.folder}, load {load}", node.last_lines()))
    return report


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Each process that runs tests tells this one of its reports, too."""
    if report.skipped and isinstance(report.longrepr, tuple):
        _SKIPPED[report.nodeid] = report.longrepr[2]


def pytest_sessionfinish(session: pytest.Session) -> None:
    if os.environ.get("CI") == "true" and _SKIPPED and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _SKIPPED and os.environ.get("CI") == "true":
        terminalreporter.section("CI: tests were skipped, so this run fails", red=True)
        for test, why in _SKIPPED.items():
            terminalreporter.line(f"{test}: {why}")
