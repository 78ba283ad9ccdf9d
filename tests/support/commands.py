"""A subcommand called as the program calls it."""

import importlib
from collections.abc import Callable

from click.testing import CliRunner, Result

from mta.cli.main import COMMANDS

Floodgate = Callable[..., Result]


def call(name: str, *arguments: str, answer: str | None = None) -> Result:
    return CliRunner().invoke(importlib.import_module(COMMANDS[name][0]).command, arguments, input=answer)
