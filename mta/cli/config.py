"""The command `floodgate config`: tells what is wrong with settings, and what is in force."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import click

from mta.cli import commands
from mta.model.errors import SettingsError
from mta.model.settings import NodeSettings, Settings
from mta.settings_file import load_settings
from mta.settings_file.text import as_written, defaults_text, settings_text


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
def check(path: Path | None, sets: tuple[str, ...], as_json: bool) -> None:
    """Tell whether a node would start with these settings; exit 1 when not."""
    try:
        load_settings(path, sets, os.environ)
    except SettingsError as error:
        _refuse(error, as_json)
    click.echo(json.dumps({"ok": True}) if as_json else "ok")


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


def _refuse(error: SettingsError, as_json: bool) -> NoReturn:
    if as_json:
        click.echo(json.dumps({"ok": False, "error": str(error)}, ensure_ascii=False))
    else:
        click.echo(f"floodgate: {error}", err=True)
    raise SystemExit(1)
