"""Tests that need a program of the system: skipped where it is missing, which fails the run where CI=true."""

import glob
import os
import shutil

import pytest

_POSTGRES = sorted(glob.glob("/usr/lib/postgresql/*/bin"), reverse=True)  # where Debian keeps its programs
PLACES = os.pathsep.join((os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin", *_POSTGRES))


def tool(name: str) -> str | None:
    """The path of a program, those for administrators included; None: not installed."""
    return shutil.which(name, path=PLACES)


def needs(name: str) -> pytest.MarkDecorator:
    """Marks a test that needs the program `name`."""
    return pytest.mark.needs(name)
