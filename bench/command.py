"""A command: one sub-command of `python -m bench`; a module of the harness that has one is listed in `__main__.py`."""

import argparse
import datetime
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from bench import machine

ROOT = Path(__file__).resolve().parent.parent
COMMITTED = ROOT / "bench" / "results"  # the current set, which documents quote
_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
RESULTS = _CACHE / "floodgate-bench" / "results"


class Command(NamedTuple):
    """`main` gives the exit status: 0, or 1 when a run was void."""

    name: str
    about: str  # one sentence
    takes: str  # how long with its defaults on two cores, such as "3 minutes"
    options: Callable[[argparse.ArgumentParser], None]
    main: Callable[[argparse.Namespace], int]


def positive(text: str) -> int:
    """An argument that counts something."""
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def share(text: str) -> float:
    """An argument above 0 and at most 1."""
    number = float(text)
    if not 0 < number <= 1:
        raise ValueError(text)
    return number


def result_options(parser: argparse.ArgumentParser, name: str, repeat: int) -> None:
    """How often is measured, where the data goes meanwhile, and where the result."""
    parser.add_argument("--repeat", type=positive, default=repeat, help="runs, each on a fresh directory")
    place_options(parser, name)


def place_options(parser: argparse.ArgumentParser, name: str) -> None:
    """Where the data goes meanwhile, and where the result."""
    parser.add_argument("--data-dir", type=Path, help="a directory on a real disk; data goes to a new one below it")
    parser.add_argument("--name", default=name, help="ends the names of the result files")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where these files go")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result there, too")


def data_root(given: Path | None) -> Path:
    """The directory asked for, or a temporary one, on a real disk. Raises SystemExit."""
    for place in [given] if given else [Path("/var/tmp"), Path(tempfile.gettempdir()), Path.home()]:
        if place.is_dir() and machine.is_real_disk(place):
            return place
    raise SystemExit(
        f"python -m bench: {given or 'no temporary directory'} is not a directory on a real disk (file system "
        f"{machine.file_system(given)['type'] if given else 'tmpfs'}); give one with --data-dir"
    )


def opening(name: str, root: Path) -> dict[str, Any]:
    """The beginning of each result: date, commit, machine and disk."""
    return {
        "name": name,
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "commit": machine.commit(ROOT),
        "machine": machine.facts(),
        "file_system": machine.file_system(root),
    }
