"""`floodgate freeze`: hold all queued mail of a tag everywhere, and account for it."""

import click

from mta.cli import commands, follow, remote
from mta.cli.rules import PAUSES


@commands.command(help="Hold all queued mail of a tag on every node, and account for it.")
@click.option("--tag", required=True)
@click.option("--domain", help="only mail to this domain, or to subdomains with *.")
@click.option("--pool", help="only mail of this pool")
@click.option("--reason", help="for people; not sent")
@click.option("--duration", help="how long, such as 30m; without it until it is thawed")
@click.option("--json", "as_json", is_flag=True, help="pause and statement as one object")
def command(as_json: bool, **fields: str | None) -> None:
    remote.run(lambda client: follow.order(client, PAUSES, remote.without_unset(**fields), as_json))
