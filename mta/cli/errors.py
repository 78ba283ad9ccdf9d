"""`floodgate errors`: forced errors by hand."""

from typing import Any
from urllib.parse import quote

import click

from mta.cli import remote
from mta.cli.tables import print_fields, print_statement, print_table, selectors_of
from mta.http_out.api_client import ApiClient


@click.group(help="Forced errors: add, list, show, edit, enable, disable, remove, statement.")
def command() -> None:
    pass


@command.command(help="Make every node answer matching deliveries with CODE, from now on.")
@click.argument("code", type=click.IntRange(200, 599))
@click.option("--extended", help="enhanced code, such as 5.7.1")
@click.option("--description", help="the text of the reply")
@click.option("--tag")
@click.option("--domain", help="a domain, or *.domain for its subdomains")
@click.option("--pool")
@click.option("--mta", help="a sending IP")
@click.option("--ip", help="the peer's IP")
@click.option("--mx", help="the peer's host, or *.host")
@click.option("--tags-all", multiple=True, metavar="TAG", help="a tag that must be there too; may repeat")
@click.option("--except-tag", "except_tags", multiple=True, metavar="TAG", help="a tag that spares; may repeat")
@click.option("--expires-at", help="when it stops matching: RFC 3339, or +30m")
@click.option("--duration", help="how long it matches, such as 30m")
@click.option("--disabled", is_flag=True, help="keep it without effect until it is enabled")
@click.option("--this-node", is_flag=True, help="only on the node that answers")
@click.option("--everything", is_flag=True, help="needed when no selector, or only --except-tag, is given")
@click.option("--reason", help="for people; not sent")
@click.option(
    "--wait", callback=remote.seconds, default=remote.DEFAULT_WAIT, help="how long to wait until it is effective"
)
@click.option("--until", type=click.Choice(["effective", "quiet", "swept"]), default="effective")
@click.option("--yes", is_flag=True, help="do not ask")
@click.option("--json", "as_json", is_flag=True)
def add(
    this_node: bool, everything: bool, disabled: bool, wait: float, until: str, yes: bool, as_json: bool, **fields: Any
) -> None:
    body = {name: value for name, value in remote.without_unset(**fields).items() if value != ()}
    if disabled:
        body["enabled"] = False
    if this_node:
        body["cluster"] = False
    if everything:
        body["everything"] = True

    async def work(client: ApiClient) -> int:
        if not yes:
            _confirm(body)
        answer = await client.ask(
            "POST", "/v1/errors", [("wait", f"{wait:g}"), ("until", until)], body, within=wait + 30.0
        )
        _show_change(answer.body, as_json)
        return remote.DONE if answer.status != 202 else remote.NOT_YET

    remote.run(work)


def _confirm(body: dict[str, Any]) -> None:
    """Only what ends mail asks: a 4xx can be lifted again and nothing is gone."""
    if 400 <= body["code"] < 500 or not body.get("enabled", True):
        return
    if not remote.is_terminal():
        raise click.UsageError("this ends mail: give --yes where nobody can be asked")
    click.echo(f"Every queued delivery with {selectors_of(body)} ends with {body['code']}.")
    click.confirm("Go on?", abort=True)


@command.command("list", help="The forced errors in force.")
@click.option("--tag")
@click.option("--domain")
@click.option("--pool")
@click.option("--enabled", type=click.Choice(["true", "false", "all"]), help="false: disabled or expired ones instead")
@click.option("--limit", type=click.IntRange(1), default=100)
@click.option("--all", "everything", is_flag=True, help="no limit")
@click.option("--json", "as_json", is_flag=True)
def list_(limit: int, everything: bool, as_json: bool, **filters: str | None) -> None:
    async def work(client: ApiClient) -> int:
        rules, more = await remote.pages(client, "/v1/errors", remote.without_unset(**filters), limit, everything)
        if as_json:
            remote.out_json(rules)
            return remote.DONE
        columns = ("id", "code", "extended", "applies to", "hits", "last hit", "created", "state", "reason")
        rows = [
            (
                rule["id"],
                rule["code"],
                rule.get("extended"),
                selectors_of(rule),
                rule["hits"],
                rule["last_hit_at"],
                rule.get("created_at"),
                _state(rule),
                rule.get("reason"),
            )
            for rule in rules
        ]
        print_table(columns, rows)
        if more:
            remote.say("there are more; give --limit or --all")
        return remote.DONE

    remote.run(work)


@command.command(help="One forced error and who has confirmed it.")
@click.argument("rule_id", metavar="ID")
@click.option("--json", "as_json", is_flag=True)
def show(rule_id: str, as_json: bool) -> None:
    async def work(client: ApiClient) -> int:
        rule = (await client.ask("GET", _path(rule_id))).body
        remote.out_json(rule) if as_json else print_fields(rule)
        return remote.DONE

    remote.run(work)


@command.command(help="Change what a forced error answers, or how long; fields that are not given stay.")
@click.argument("rule_id", metavar="ID")
@click.option("--code", type=click.IntRange(200, 599))
@click.option("--extended", help='enhanced code; "" takes it away')
@click.option("--description", help="the text of the reply")
@click.option("--reason", help="for people; not sent")
@click.option("--expires-at", help='when it stops matching; "" = never')
@click.option("--duration", help="how long it matches from now, such as 30m")
@click.option("--generation", type=int, help="only if the rule is still at this generation")
@click.option(
    "--wait", callback=remote.seconds, default=remote.DEFAULT_WAIT, help="how long to wait until it is effective"
)
@click.option("--until", type=click.Choice(["effective", "quiet", "swept"]), default="effective")
@click.option("--yes", is_flag=True, help="do not ask")
@click.option("--json", "as_json", is_flag=True)
def edit(
    rule_id: str, generation: int | None, wait: float, until: str, yes: bool, as_json: bool, **fields: Any
) -> None:
    body = {name: value if value != "" else None for name, value in remote.without_unset(**fields).items()}
    if not body:
        raise click.UsageError("nothing is to be changed; give an option")

    async def work(client: ApiClient) -> int:
        if not yes and "code" in body:
            known = (await client.ask("GET", _path(rule_id))).body
            _confirm({**known, **body})
        return await _patch(client, rule_id, body, generation, wait, until, as_json)

    remote.run(work)


@command.command(help="Let a disabled forced error match again; what waits is swept again.")
@click.argument("rule_id", metavar="ID")
@click.option(
    "--wait", callback=remote.seconds, default=remote.DEFAULT_WAIT, help="how long to wait until it is effective"
)
@click.option("--until", type=click.Choice(["effective", "quiet", "swept"]), default="effective")
@click.option("--yes", is_flag=True, help="do not ask")
@click.option("--json", "as_json", is_flag=True)
def enable(rule_id: str, wait: float, until: str, yes: bool, as_json: bool) -> None:
    async def work(client: ApiClient) -> int:
        if not yes:
            _confirm({**(await client.ask("GET", _path(rule_id))).body, "enabled": True})
        return await _patch(client, rule_id, {"enabled": True}, None, wait, until, as_json)

    remote.run(work)


@command.command(help="Keep a forced error without effect; what it ended stays ended.")
@click.argument("rule_id", metavar="ID")
@click.option(
    "--wait", callback=remote.seconds, default=remote.DEFAULT_WAIT, help="how long to wait until it is effective"
)
@click.option("--json", "as_json", is_flag=True)
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
    answer = await client.ask("PATCH", _path(rule_id), asked, body, within=wait + 30.0, headers=headers)
    _show_change(answer.body, as_json)
    return remote.DONE if answer.status != 202 else remote.NOT_YET


def _state(rule: dict[str, Any]) -> str:
    if not rule["enabled"]:
        return "disabled"
    return f"until {rule['expires_at']}" if "expires_at" in rule else "on"


@command.command(help="Lift a forced error; what it ended stays ended.")
@click.argument("rule_id", metavar="ID")
@click.option(
    "--wait", callback=remote.seconds, default=remote.DEFAULT_WAIT, help="how long to wait until it is effective"
)
@click.option("--json", "as_json", is_flag=True)
def remove(rule_id: str, wait: float, as_json: bool) -> None:
    async def work(client: ApiClient) -> int:
        answer = await client.ask("DELETE", _path(rule_id), [("wait", f"{wait:g}")], within=wait + 30.0)
        _show_change(answer.body, as_json, "removed ")
        return remote.DONE if answer.status != 202 else remote.NOT_YET

    remote.run(work)


@command.command(help="What became of the deliveries that a forced error met.")
@click.argument("rule_id", metavar="ID")
@click.option("--json", "as_json", is_flag=True)
def statement(rule_id: str, as_json: bool) -> None:
    async def work(client: ApiClient) -> int:
        found = (await client.ask("GET", _path(rule_id) + "/statement")).body
        remote.out_json(found) if as_json else print_statement(found)
        return remote.DONE

    remote.run(work)


def _path(rule_id: str) -> str:
    return f"/v1/errors/{quote(rule_id, safe='')}"


def _show_change(rule: dict[str, Any], as_json: bool, before: str = "") -> None:
    if as_json:
        remote.out_json(rule)
        return
    click.echo(f"{before}{rule['id']}  {rule['code']}  {selectors_of(rule)}")
    show_effect(rule)


def show_effect(rule: dict[str, Any]) -> None:
    """When it is effective, who is still to confirm it, what was past its dot, and the warnings."""
    if rule["effective"]:
        click.echo(f"effective everywhere since {rule['effective_at']}")
    else:
        click.echo(f"effective everywhere by {rule['effective_by']} at the latest")
    if rule["workers"]["unconfirmed"]:
        click.echo("not confirmed by " + ", ".join(rule["workers"]["unconfirmed"]))
    for entry in rule["past_dot"]:
        click.echo(f"past its dot: {entry['id']} to {entry['recipient']} at {entry['dot_at']}")
    for warning in rule.get("warnings", ()):
        remote.say(warning)
