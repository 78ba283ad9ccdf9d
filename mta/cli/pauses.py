"""`floodgate pauses`: pauses by hand."""

from typing import Any

import click

from mta.cli import commands, remote
from mta.cli.errors import confirm
from mta.cli.options import AS_JSON
from mta.cli.rules import (
    AT_THE_DOOR,
    DETAIL,
    IN_FLIGHT,
    PAUSES,
    QUIET,
    REASON,
    RULE_ID,
    UNTIL,
    WAIT,
    YES,
    body_of,
    filters,
    selecting,
    show_change,
)
from mta.cli.selection import recurring
from mta.cli.tables import print_fields
from mta.http_out.api_client import ApiClient


@commands.group(help="Pauses: add, list, show, remove, release, convert, statement.")
def command() -> None:
    pass


@command.command(help="Make every node hold matching deliveries.")
@selecting
@recurring
@IN_FLIGHT
@REASON
@WAIT
@UNTIL
@QUIET
@AS_JSON
def add(wait: float, until: str, quiet: bool, as_json: bool, **fields: Any) -> None:
    remote.run(lambda client: PAUSES.order(client, body_of(**fields), wait, until, quiet, as_json))


@command.command("list", help="List the pauses in force.")
@filters
def list_(limit: int, everything: bool, quiet: bool, as_json: bool, **wanted: str | None) -> None:
    remote.run(lambda client: PAUSES.list(client, remote.without_unset(**wanted), limit, everything, quiet, as_json))


@command.command(help="Show one pause, how many deliveries it holds, and the processes that have confirmed it.")
@RULE_ID
@AS_JSON
def show(rule_id: str, as_json: bool) -> None:
    remote.run(lambda client: PAUSES.show(client, rule_id, as_json))


@command.command(help="Lift a pause, and release the deliveries that it holds.")
@RULE_ID
@WAIT
@AS_JSON
def remove(rule_id: str, wait: float, as_json: bool) -> None:
    remote.run(lambda client: PAUSES.remove(client, rule_id, wait, as_json))


@command.command(
    help="Let a part of the mail go that a pause holds, and keep the rest. Without an option, show the last release."
)
@RULE_ID
@click.option("--count", type=click.IntRange(1), metavar="N", help="Let N deliveries go, those due first.")
@click.option("--rate", help="Let deliveries go at this rate until it is stopped, such as 100/m.")
@click.option("--stop", is_flag=True, help="Let no more go; the pause keeps what it holds.")
@WAIT
@AS_JSON
def release(rule_id: str, count: int | None, rate: str | None, stop: bool, wait: float, as_json: bool) -> None:
    if (count is not None) + (rate is not None) + stop > 1:
        raise click.UsageError("give one of --count, --rate and --stop")
    path, body = PAUSES.of(rule_id) + "/release", remote.without_unset(count=count, rate=rate)

    async def work(client: ApiClient) -> int:
        if body:
            answer = await client.ask("POST", path, [("wait", f"{wait:g}")], body, within=wait + 30.0)
        else:
            answer = await client.ask("DELETE" if stop else "GET", path)
        if as_json:
            remote.out_json(answer.body)
        else:
            print_fields(answer.body)
        return remote.DONE if answer.status != 202 or rate is not None else remote.NOT_YET

    remote.run(work)


@command.command(help="Turn a pause into a forced error with CODE. No held delivery gets through in between.")
@RULE_ID
@click.argument("code", type=click.IntRange(200, 599))
@click.option("--extended", help="Enhanced code, such as 5.7.1.")
@click.option("--description", help="The text of the reply.")
@AT_THE_DOOR
@IN_FLIGHT
@click.option("--no-undo", is_flag=True, help="Keep no copies of intercepted deliveries for an undo.")
@REASON
@WAIT
@UNTIL
@YES
@AS_JSON
def convert(
    rule_id: str, no_undo: bool, wait: float, until: str, yes: bool, as_json: bool, **fields: Any
) -> None:  # fmt: skip
    body = remote.without_unset(**fields)
    if no_undo:
        body["undo"] = False

    async def work(client: ApiClient) -> int:
        if not yes:
            known = (await client.ask("GET", PAUSES.of(rule_id))).body
            await confirm(client, {**known, **body, "enabled": True})
        asked = [("wait", f"{wait:g}"), ("until", until)]
        answer = await client.ask("POST", PAUSES.of(rule_id) + "/convert", asked, body, within=wait + 30.0)
        show_change(answer.body, as_json)
        return remote.DONE if answer.status != 202 else remote.NOT_YET

    remote.run(work)


@command.command(help="Print the account of the deliveries that a pause met.")
@RULE_ID
@DETAIL
@AS_JSON
def statement(rule_id: str, detail: bool, as_json: bool) -> None:
    remote.run(lambda client: PAUSES.statement(client, rule_id, detail, as_json))
