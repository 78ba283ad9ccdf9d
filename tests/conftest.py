"""Skips tests whose programs are missing, and fails a CI run in which any test was skipped."""

import os
from collections.abc import Sequence

import pytest

from tests.support.needs import tool

_SKIPPED: dict[str, str] = {}  # test -> why


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    for item in items:
        for mark in item.iter_markers("needs"):
            if tool(mark.args[0]) is None:
                item.add_marker(pytest.mark.skip(reason=f"{mark.args[0]} is not installed"))


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
