"""Skips tests whose programs are missing, and fails a CI run in which that happened."""

import os
from collections.abc import Sequence

import pytest

from tests.support.needs import tool

_MISSING = pytest.StashKey[dict[str, str]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_MISSING] = {}


def pytest_collection_modifyitems(config: pytest.Config, items: Sequence[pytest.Item]) -> None:
    for item in items:
        for mark in item.iter_markers("needs"):
            if tool(mark.args[0]) is None:
                config.stash[_MISSING][item.nodeid] = mark.args[0]
                item.add_marker(pytest.mark.skip(reason=f"{mark.args[0]} is not installed"))


def pytest_sessionfinish(session: pytest.Session) -> None:
    if os.environ.get("CI") == "true" and session.config.stash[_MISSING] and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    missing = config.stash[_MISSING]
    if missing and os.environ.get("CI") == "true":
        terminalreporter.section("CI: skipped for a missing program, so this run fails", red=True)
        for test, name in missing.items():
            terminalreporter.line(f"{test}: install {name}")
