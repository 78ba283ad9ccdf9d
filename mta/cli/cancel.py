"""`floodgate cancel`: the main job in one verb: end all queued mail of a tag everywhere, and account for it."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from mta.cli import remote
from mta.cli.errors import show_effect
from mta.cli.tables import print_statement
from mta.http_out.api_client import ApiClient

_WAIT = 10.0  # seconds; with the default rules.max_staleness every order is effective within 5.5
_LOOK = 0.25
_PLAIN_LOOK = 2.0  # seconds between lines where nobody watches

Report = Callable[[dict[str, Any]], None]


@click.command(help="Cancel all queued mail of a tag on every node, and account for it.")
@click.option("--tag", required=True)
@click.option("--domain", help="only mail to this domain, or to subdomains with *.")
@click.option("--pool", help="only mail of this pool")
@click.option("--reason", help="for people; not sent")
@click.option("--yes", is_flag=True, help="do not ask")
@click.option("--json", "as_json", is_flag=True, help="rule and statement as one object")
def command(tag: str, yes: bool, as_json: bool, **more: str | None) -> None:
    if not yes and not remote.is_terminal():
        raise click.UsageError("this ends mail: give --yes where nobody can be asked")

    async def work(client: ApiClient) -> int:
        if not yes:
            await _ask(client, tag, remote.without_unset(**more))
        return await cancel(client, tag, remote.without_unset(**more), as_json)

    remote.run(work)


async def _ask(client: ApiClient, tag: str, more: dict[str, str]) -> None:
    """The tag's account is the preview: what is queued is what can be canceled."""
    before = (await client.ask("GET", "/v1/tags", [("tag", tag)])).body
    print_statement(before)
    narrowed = "".join(f" with {name} {value}" for name, value in more.items() if name != "reason")
    click.confirm(f"Cancel what is queued of {tag}{narrowed} ({before['queued']} of the tag are queued)?", abort=True)


async def cancel(client: ApiClient, tag: str, more: dict[str, str], as_json: bool) -> int:
    """Order, wait, follow the sweep, print the statement; the exit status."""
    body = {"code": 554, "extended": "5.7.1", "description": "canceled by order of the sender", "tag": tag, **more}
    answer = await client.ask("POST", "/v1/errors", [("wait", f"{_WAIT:g}")], body, within=_WAIT + 30.0)
    rule = answer.body
    path = f"/v1/errors/{quote(rule['id'], safe='')}"
    if not as_json:
        click.echo(f"rule {rule['id']}")
        show_effect(rule)
    if answer.status == 202:
        if as_json:
            remote.out_json({"rule": rule, "statement": None})
        else:
            remote.say(f"not effective everywhere yet; look again with: floodgate errors show {rule['id']}")
        return remote.NOT_YET
    with _progress(as_json) as report:
        statement = await _until_complete(client, path, report)
    rule = (await client.ask("GET", path)).body
    if as_json:
        remote.out_json({"rule": rule, "statement": statement})
    else:
        print_statement(statement)
    if statement["balanced"] is not True:
        remote.say("the account does not balance")
        return remote.FAILED
    return remote.DONE


async def _until_complete(client: ApiClient, path: str, report: Report) -> dict[str, Any]:
    while True:
        statement: dict[str, Any] = (await client.ask("GET", path + "/statement")).body
        report(statement)
        if statement["complete"]:
            return statement
        await asyncio.sleep(_LOOK)


@contextlib.contextmanager
def _progress(silent: bool) -> Iterator[Report]:
    """A bar on a terminal, a line now and then elsewhere."""
    console = Console(stderr=True)
    if silent:
        yield lambda statement: None
    elif console.is_terminal:
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[counts]}"))
        with Progress(*columns, console=console, transient=True) as progress:
            task = progress.add_task("sweep", total=None, counts="")

            def draw(statement: dict[str, Any]) -> None:
                ended = sum(statement["intercepted"].values())
                total = ended + statement["queued"]
                progress.update(task, total=total or None, completed=ended, counts=_counts(statement))

            yield draw
    else:
        yield _plain()


def _plain() -> Report:
    loop = asyncio.get_running_loop()
    due = loop.time()

    def tell(statement: dict[str, Any]) -> None:
        nonlocal due
        if statement["complete"] or loop.time() >= due:
            due = loop.time() + _PLAIN_LOOK
            click.echo(f"sweep {_counts(statement)}", err=True)

    return tell


def _counts(statement: dict[str, Any]) -> str:
    sweep = statement.get("sweep") or {"state": "none", "seen": 0}
    ended = sum(statement["intercepted"].values())
    return f"{sweep['state']}: {sweep['seen']} seen, {ended} intercepted, {statement['queued']} still queued"
