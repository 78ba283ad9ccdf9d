"""A scenario: what one sub-command measures, with which options, and how its figures are shown."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from bench.command import positive, share
from bench.flow import Load
from bench.progress import Say

Run = dict[str, Any]  # JSON


class Figure(NamedTuple):
    """One row of the summary; `of` gives None where a run has no such figure."""

    label: str
    of: Callable[[Run], float | None]


class Scenario(NamedTuple):
    """`run` makes one run, or raises RunVoid."""

    name: str
    about: str  # one sentence
    takes: str  # how long with its defaults on two cores
    repeat: int  # runs, unless told otherwise
    options: Callable[[argparse.ArgumentParser], None]
    load: Callable[[argparse.Namespace], Load]
    run: Callable[[Load, argparse.Namespace, Path, Say], Run]
    figures: dict[str, Figure]
    conditions: Callable[[dict[str, Any], dict[str, Any]], str]  # of load and options: what was done, and what is void
    lines: Callable[[Run], list[str]]  # Markdown


def load_options(parser: argparse.ArgumentParser) -> None:
    """The load that all scenarios put on a node."""
    parser.add_argument("--size", type=positive, default=4096, help="bytes of a relayed message, headers included")
    parser.add_argument("--sessions", type=positive, default=40, help="SMTP sessions of the source")
    parser.add_argument("--domains", type=positive, default=5, help="recipient domains of relayed mail")
    parser.add_argument("--workers", type=positive, default=2, help="worker processes of the node")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of the node")


def load_of(given: argparse.Namespace, messages: int) -> Load:
    """The load that the options ask for."""
    return Load(messages, given.size, given.sessions, given.domains, given.workers, given.set)


def calibration_options(parser: argparse.ArgumentParser) -> None:
    """How hard the relay works beside what is measured."""
    parser.add_argument(
        "--calibrate", type=positive, default=20_000, metavar="N", help="messages that find the maximum rate"
    )
    parser.add_argument("--share", type=share, default=0.8, help="of the maximum rate, for the mail beside")
