"""`floodgate queues`: what waits, by pool and domain."""

import click

from mta.cli import commands, remote
from mta.cli.tables import print_table
from mta.http_out.api_client import ApiClient

_COLUMNS = ("pool", "domain", "due", "scheduled", "claimed", "oldest")


@commands.group(help="The queues of the cluster.")
def command() -> None:
    pass


@command.command("list", help="The queues with their counts.")
@click.option("--pool")
@click.option("--domain")
@click.option("--limit", type=click.IntRange(1), default=100)
@click.option("--all", "everything", is_flag=True, help="no limit")
@click.option("--json", "as_json", is_flag=True)
def list_(pool: str | None, domain: str | None, limit: int, everything: bool, as_json: bool) -> None:
    async def work(client: ApiClient) -> int:
        filters = remote.without_unset(pool=pool, domain=domain)
        queues, more = await remote.pages(client, "/v1/queues", filters, limit, everything, "queues")
        if as_json:
            remote.out_json(queues)
            return remote.DONE
        print_table(_COLUMNS, [[queue[column] for column in _COLUMNS] for queue in queues])
        if more:
            remote.say("there are more; give --limit or --all")
        return remote.DONE

    remote.run(work)
