"""The command `floodgate node`: it runs a node until it is told to stop."""

import asyncio
import json
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path

import click

from mta.cli import commands
from mta.model.errors import SettingsError, StoreError
from mta.model.secret_urls import hide_password
from mta.model.settings import Settings
from mta.runtime.data_dir import DataDir, no_file_for_others
from mta.runtime.descriptors import raise_descriptor_limit
from mta.runtime.fork_client import ForkClient
from mta.runtime.supervisor import Supervisor, first_programs
from mta.settings_file import load_settings
from mta.settings_file.warnings import warnings_of

log = logging.getLogger(__name__)


@commands.command("node")
@click.option("--config", "path", type=click.Path(path_type=Path), metavar="FILE", help="The settings file.")
@click.option("--embedded", is_flag=True, help="Run a Valkey server of its own in the data directory (the default).")
@click.option("--data-dir", metavar="DIR", help="Where the node keeps its files.")
@click.option("--name", metavar="NODE", help="Name of this node, one of its own in the cluster.")
@click.option("--workers", type=int, metavar="N", help="Worker processes; 0 = one per core.")
@click.option("--roles", metavar="ROLE,...", help="Roles of this node: smtp, delivery, api, journal.")
@click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="Override a key; may be repeated.")
def command(
    path: Path | None,
    embedded: bool,
    data_dir: str | None,
    name: str | None,
    workers: int | None,
    roles: str | None,
    sets: tuple[str, ...],
) -> None:
    """Run a node: take mail in, deliver it, answer the API.

    Prints one line of JSON once every listener answers. SIGTERM drains it, SIGHUP reloads its settings.
    """
    words = list(sets)
    for key, value in (("node.data_dir", data_dir), ("node.name", name)):
        if value is not None:
            words.append(f"{key}={json.dumps(value)}")
    if workers is not None:
        words.append(f"node.workers={workers}")
    if roles is not None:
        words.append(f"node.roles={json.dumps([role.strip() for role in roles.split(',')])}")
    logging.basicConfig(
        stream=sys.stderr,
        level=os.environ.get("FLOODGATE_LOG", "INFO"),
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )

    def load() -> Settings:
        settings = load_settings(path, words, os.environ)
        if embedded and settings.redis.url != "embedded":
            url = hide_password(settings.redis.url)
            raise SettingsError(f"--embedded: redis.url says {url}; give one of the two")
        return settings

    try:
        _run(load)
    except (SettingsError, StoreError) as error:
        for line in str(error).splitlines():
            click.echo(f"floodgate node: {line}", err=True)
        sys.exit(1)


def _run(load: Callable[[], Settings]) -> None:
    """Raises SettingsError, StoreUnsafe."""
    settings = load()
    for warning in warnings_of(settings):
        log.warning("%s", warning)
    no_file_for_others()
    folder = DataDir(settings.node.data_dir)
    raise_descriptor_limit()  # for the processes, which have the limits of their fork server
    forks = ForkClient(first_programs(settings))
    forks.begin()
    asyncio.run(Supervisor(settings, folder, load, forks).run())
