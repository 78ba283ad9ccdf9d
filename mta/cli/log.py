"""`floodgate log`: search the history of deliveries, export it, and erase an address from it."""

from typing import Any, BinaryIO

import click

from mta.cli import commands, remote
from mta.cli.erasure import forget
from mta.cli.listing import OUTPUT, filters, list_deliveries, params_of, write_out
from mta.cli.options import ALL, AS_JSON, LIMIT

_FORMATS = {"json": "ndjson", "csv": "csv", "pmta": "pmta"}


@commands.group(help="The history of deliveries: search, export, forget.")
def command() -> None:
    pass


@command.command(help="List deliveries with their last state, the newest first.")
@filters
@LIMIT
@ALL
@AS_JSON
def search(limit: int, everything: bool, as_json: bool, **wanted: Any) -> None:
    remote.run(lambda client: list_deliveries(client, params_of(**wanted), limit, everything, as_json))


@command.command(help="Write all deliveries that are selected: one JSON object a line, CSV, or PowerMTA's accounting.")
@filters
@click.option(
    "--format", "form", type=click.Choice(list(_FORMATS)), default="json", help="json (default), csv, or pmta."
)
@click.option(
    "--intercepted-as",
    type=click.Choice(["fe", "b"]),
    help="With pmta: the type of deliveries that a forced error ended; fe (default) is none of PowerMTA's own.",
)
@OUTPUT
def export(form: str, intercepted_as: str | None, output: BinaryIO, **wanted: Any) -> None:
    if intercepted_as is not None and form != "pmta":
        raise click.UsageError("--intercepted-as is for --format pmta")
    params = [*params_of(**wanted), ("format", _FORMATS[form])]
    if intercepted_as is not None:
        params.append(("intercepted_as", intercepted_as))
    remote.run(lambda client: write_out(client, "/v1/messages", params, output))


command.add_command(forget)
