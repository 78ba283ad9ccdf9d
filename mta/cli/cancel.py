"""`floodgate cancel`: the main job in one verb: end all queued mail of a tag everywhere, and account for it."""

import click

from mta.cli import commands, follow, remote
from mta.cli.rules import ERRORS
from mta.cli.tables import print_statement
from mta.http_out.api_client import ApiClient


@commands.command(help="Cancel all queued mail of a tag on every node, and account for it.")
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
        answer = {"code": 554, "extended": "5.7.1", "description": "canceled by order of the sender"}
        return await follow.order(client, ERRORS, {**answer, "tag": tag, **remote.without_unset(**more)}, as_json)

    remote.run(work)


async def _ask(client: ApiClient, tag: str, more: dict[str, str]) -> None:
    """The tag's account is the preview: what is queued is what can be canceled."""
    before = (await client.ask("GET", "/v1/tags", [("tag", tag)])).body
    print_statement(before)
    narrowed = "".join(f" with {name} {value}" for name, value in more.items() if name != "reason")
    click.confirm(f"Cancel what is queued of {tag}{narrowed} ({before['queued']} of the tag are queued)?", abort=True)
