"""The command `floodgate config`: tells the faults of settings, and the settings in force."""

import asyncio
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import click

from mta.cli import commands
from mta.model.errors import SettingsError
from mta.model.settings import NodeSettings, Settings
from mta.runtime.preflight import try_out
from mta.settings_file import load_settings
from mta.settings_file.text import as_written, defaults_text, settings_text
from mta.settings_file.warnings import warnings_of


@commands.group("config")
def command() -> None:
    """Check or show settings."""


def _settings_options(function: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Answer in JSON."),
        click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="Override a key; may be repeated."),
        click.option("--config", "path", type=click.Path(path_type=Path), metavar="FILE", help="The settings file."),
    ):
        function = option(function)
    return function


@command.command()
@_settings_options
@click.option("--live", is_flag=True, help="Also try the addresses, the folders, the sending IPs and the store.")
def check(path: Path | None, sets: tuple[str, ...], as_json: bool, live: bool) -> None:
    """Check the settings: name every fault that keeps a node from starting, and warn of likely mistakes.

    Exit status 0: a node would start, though there may be warnings; 1: it would not.
    """
    try:
        settings = load_settings(path, sets, os.environ)
    except SettingsError as error:
        _refuse(error, as_json)
    warnings = warnings_of(settings)
    faults: list[str] = []
    if live:
        found = asyncio.run(try_out(settings))
        faults, warnings = found.faults, warnings + found.warnings
    if as_json:
        click.echo(_json(_verdict(faults, warnings)))
    else:
        for warning in warnings:
            click.echo(f"warning: {warning}", err=True)
        for fault in faults:
            click.echo(f"floodgate: {fault}", err=True)
        if not faults:
            click.echo("ok")
    raise SystemExit(1 if faults else 0)


@command.command()
@_settings_options
@click.option("--defaults", is_flag=True, help="Every key with its default and what it does; reads no file.")
def show(path: Path | None, sets: tuple[str, ...], as_json: bool, defaults: bool) -> None:
    """Print the settings in force as TOML; passwords in URLs are hidden."""
    if defaults and (path is not None or sets):
        raise click.UsageError("--defaults takes neither --config nor --set")
    if defaults:
        click.echo(_json(as_written(Settings(node=NodeSettings()))) if as_json else defaults_text(), nl=as_json)
        return
    try:
        settings = load_settings(path, sets, os.environ)
    except SettingsError as error:
        _refuse(error, as_json)
    click.echo(_json(as_written(settings)) if as_json else settings_text(settings), nl=as_json)


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def _verdict(faults: Sequence[str], warnings: Sequence[str] = ()) -> dict[str, Any]:
    """The answer in JSON."""
    verdict: dict[str, Any] = {"ok": not faults}
    if faults:
        verdict |= {"error": "\n".join(faults), "faults": list(faults)}
    return verdict | ({"warnings": list(warnings)} if warnings else {})


def _refuse(error: SettingsError, as_json: bool) -> NoReturn:
    if as_json:
        click.echo(_json(_verdict(error.faults)))
    else:
        for fault in error.faults:
            click.echo(f"floodgate: {fault}", err=True)
    raise SystemExit(1)
