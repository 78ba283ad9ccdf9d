"""`floodgate errors`: forced errors by hand."""

from typing import Any, BinaryIO, NoReturn
from urllib.parse import quote

import click

from mta.cli import commands, remote
from mta.cli.listing import OUTPUT, write_out
from mta.cli.options import AS_JSON
from mta.cli.preview import counted, print_preview, show_before_asking
from mta.cli.rule_file import Changes, ids_in, opened, rules_in
from mta.cli.rules import (
    AT_THE_DOOR,
    DETAIL,
    ERRORS,
    IN_FLIGHT,
    MAX_MATCHES,
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
    show_effect,
)
from mta.cli.tables import print_figures, selectors_of
from mta.http_out.api_client import ApiClient


@commands.group(help="Forced errors: add, list, show, edit, enable, disable, remove, preview, statement, undo.")
def command() -> None:
    pass


FROM = click.option("--from", "path", metavar="FILE", help="NDJSON or CSV, one rule or id a line; - is standard input.")


@command.command(
    help="Make every node end or defer matching deliveries with CODE. With --from one rule is made for each line of a "
    "file, whose names are those of the API; CODE and options stand for what a line does not say."
)
@click.argument("code", type=click.IntRange(200, 599), required=False)
@FROM
@click.option("--extended", help="Enhanced code, such as 5.7.1.")
@click.option("--description", help="The text of the reply.")
@selecting
@AT_THE_DOOR
@IN_FLIGHT
@click.option("--no-undo", is_flag=True, help="Keep no copies of intercepted deliveries for an undo.")
@MAX_MATCHES
@click.option("--preview-token", metavar="TOKEN", help="As --max-matches, with the count of that preview and 5 % more.")
@REASON
@WAIT
@UNTIL
@YES
@QUIET
@AS_JSON
def add(
    path: str | None, no_undo: bool, wait: float, until: str, yes: bool, quiet: bool, as_json: bool, **fields: Any
) -> None:
    body = body_of(**fields)
    if no_undo:
        body["undo"] = False
    if path is not None:
        add_all(path, body, wait, until, yes, quiet, as_json)
    if "code" not in body:
        raise click.UsageError("give CODE, or --from with a file that has it")

    async def work(client: ApiClient) -> int:
        if not yes:
            await confirm(client, body)
        return await ERRORS.order(client, body, wait, until, quiet, as_json)

    remote.run(work)


def add_all(
    path: str, defaults: dict[str, Any], wait: float, until: str, yes: bool, quiet: bool, as_json: bool
) -> NoReturn:
    """Make a rule for each line of the file."""
    if not yes:
        if path == "-" or not remote.is_terminal():
            raise click.UsageError("these orders may end mail; without a terminal, confirm them with --yes")
        click.confirm(f"Every delivery that a rule in {path} matches ends with its code. Go on?", abort=True)

    async def work(client: ApiClient) -> int:
        changes = Changes(client, wait, until)
        with opened(path) as lines:
            status = await changes.run("create", rules_in(lines, defaults))
        show_all(changes, quiet, as_json)
        return status

    remote.run(work)


def show_all(changes: Changes, quiet: bool, as_json: bool) -> None:
    """The sets that the chunks made."""
    if as_json:
        remote.out_json(changes.answers)
        return
    for answer in changes.answers:
        for line in answer["rules"] if quiet else [answer["id"]]:
            click.echo(line)


async def confirm(client: ApiClient, body: dict[str, Any]) -> None:
    """Show the preview and ask before an order that ends mail. A 4xx does not: it only defers."""
    if 400 <= body["code"] < 500 or not body.get("enabled", True):
        return
    if not remote.is_terminal():
        raise click.UsageError("this order ends mail; without a terminal, confirm it with --yes")
    await show_before_asking(client, body)
    click.echo(f"Every queued delivery with {selectors_of(body)} ends with {body['code']}.")
    click.confirm("Go on?", abort=True)


@command.command(help="Count the deliveries that a forced error would match. Nothing is ordered.")
@selecting
@click.option("--wait", callback=remote.seconds, default="10m", help="How long to wait for the count (default 10m).")
@AS_JSON
def preview(wait: float, as_json: bool, **fields: Any) -> None:
    async def work(client: ApiClient) -> int:
        found = await counted(client, body_of(**fields), wait)
        remote.out_json(found) if as_json else print_preview(found)
        if found["state"] == "done":
            return remote.DONE
        remote.say("the count goes on; wait longer with --wait")
        return remote.NOT_YET

    remote.run(work)


@command.command("list", help="List the forced errors in force.")
@filters
def list_(limit: int, everything: bool, quiet: bool, as_json: bool, **wanted: str | None) -> None:
    remote.run(lambda client: ERRORS.list(client, remote.without_unset(**wanted), limit, everything, quiet, as_json))


@command.command(help="Show one forced error, and the processes that have confirmed it.")
@RULE_ID
@AS_JSON
def show(rule_id: str, as_json: bool) -> None:
    remote.run(lambda client: ERRORS.show(client, rule_id, as_json))


@command.command(help="Change the answer of a forced error, or how long it lasts. Fields that are not given stay.")
@RULE_ID
@click.option("--code", type=click.IntRange(200, 599))
@click.option("--extended", help='Enhanced code; "" removes it.')
@click.option("--description", help="The text of the reply.")
@AT_THE_DOOR
@IN_FLIGHT
@click.option("--undo/--no-undo", default=None, help="Whether copies of intercepted deliveries are kept for an undo.")
@REASON
@click.option("--expires-at", help='When the rule ends; "": never.')
@click.option("--duration", help="How long the rule lasts from now, such as 30m.")
@click.option("--generation", type=int, help="Change the rule only if it is still at this generation.")
@WAIT
@UNTIL
@YES
@AS_JSON
def edit(
    rule_id: str, generation: int | None, wait: float, until: str, yes: bool, as_json: bool, **fields: Any
) -> None:
    body = {name: value if value != "" else None for name, value in remote.without_unset(**fields).items()}
    if not body:
        raise click.UsageError("no change is given; give an option")

    async def work(client: ApiClient) -> int:
        if not yes and "code" in body:
            known = (await client.ask("GET", ERRORS.of(rule_id))).body
            await confirm(client, {**known, **body})
        return await _patch(client, rule_id, body, generation, wait, until, as_json)

    remote.run(work)


@command.command(help="Let a disabled forced error match again, and sweep waiting mail again.")
@RULE_ID
@WAIT
@UNTIL
@YES
@AS_JSON
def enable(rule_id: str, wait: float, until: str, yes: bool, as_json: bool) -> None:
    async def work(client: ApiClient) -> int:
        if not yes:
            known = (await client.ask("GET", ERRORS.of(rule_id))).body
            await confirm(client, {**known, "enabled": True})
        return await _patch(client, rule_id, {"enabled": True}, None, wait, until, as_json)

    remote.run(work)


@command.command(help="Disable a forced error. Deliveries that it ended stay ended.")
@RULE_ID
@WAIT
@AS_JSON
def disable(rule_id: str, wait: float, as_json: bool) -> None:
    async def work(client: ApiClient) -> int:
        return await _patch(client, rule_id, {"enabled": False}, None, wait, "effective", as_json)

    remote.run(work)


async def _patch(
    client: ApiClient,
    rule_id: str,
    body: dict[str, Any],
    generation: int | None,
    wait: float,
    until: str,
    as_json: bool,
) -> int:
    headers = {} if generation is None else {"If-Match": f'"{generation}"'}
    asked = [("wait", f"{wait:g}"), ("until", until)]
    answer = await client.ask("PATCH", ERRORS.of(rule_id), asked, body, within=wait + 30.0, headers=headers)
    show_change(answer.body, as_json)
    return remote.DONE if answer.status != 202 else remote.NOT_YET


@command.command(help="Lift a forced error, or those of a file. Deliveries that they ended stay ended.")
@click.argument("rule_id", metavar="ID", required=False)
@FROM
@WAIT
@AS_JSON
def remove(rule_id: str | None, path: str | None, wait: float, as_json: bool) -> None:
    if (rule_id is None) == (path is None):
        raise click.UsageError("give an ID, or --from with a file of them")

    async def work(client: ApiClient) -> int:
        if rule_id is not None:
            return await ERRORS.remove(client, rule_id, wait, as_json)
        changes = Changes(client, wait, "effective")
        with opened(path or "") as lines:
            status = await changes.run("remove", ids_in(lines))
        show_all(changes, False, as_json)
        return status

    remote.run(work)


@command.command(help="Print the account of the deliveries that a forced error met.")
@RULE_ID
@click.option("--set", "of_set", is_flag=True, help="ID is that of a set, which add --from prints: of all its rules.")
@DETAIL
@AS_JSON
def statement(rule_id: str, of_set: bool, detail: bool, as_json: bool) -> None:
    async def work(client: ApiClient) -> int:
        if not of_set:
            return await ERRORS.statement(client, rule_id, detail, as_json)
        found = (await client.ask("GET", f"{ERRORS.path}/bulk/{quote(rule_id, safe='')}/statement")).body
        remote.out_json(found) if as_json else print_figures(found)
        return remote.DONE

    remote.run(work)


@command.command(help="Write the deliveries of a forced error: of one class, or all that it met.")
@RULE_ID
@click.option(
    "--class",
    "wanted",
    help="before, after, delivered, intercepted, bounced, expired, canceled, queued, held or uncertain.",
)
@click.option(
    "--format", "form", type=click.Choice(["json", "csv"]), default="json", help="json (default: lines), csv."
)
@OUTPUT
def deliveries(rule_id: str, wanted: str | None, form: str, output: BinaryIO) -> None:
    asked = [("format", "ndjson" if form == "json" else form)]
    if wanted is not None:
        asked.append(("class", wanted))
    remote.run(lambda client: write_out(client, ERRORS.of(rule_id) + "/deliveries", asked, output))


@command.command(help="Disable a forced error, and return the deliveries that it ended lately to their queues.")
@RULE_ID
@WAIT
@AS_JSON
def undo(rule_id: str, wait: float, as_json: bool) -> None:
    async def work(client: ApiClient) -> int:
        asked = [("wait", f"{wait:g}")]
        answer = await client.ask("POST", ERRORS.of(rule_id) + "/undo", asked, within=wait + 30.0)
        if as_json:
            remote.out_json(answer.body)
        else:
            click.echo(f"{answer.body['reinstated']} returned to their queues, {answer.body['left']} left")
            if "effective" in answer.body:
                show_effect(answer.body)
        if answer.status != 202:
            return remote.DONE
        remote.say("the undo goes on; repeat the command to see how far it is")
        return remote.NOT_YET

    remote.run(work)
