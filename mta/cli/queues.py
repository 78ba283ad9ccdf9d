"""`floodgate queues`: what waits, by pool and domain."""

from collections.abc import Mapping
from typing import Any

import click

from mta.cli import commands, remote
from mta.cli.tables import age, instant, print_table
from mta.http_out.api_client import ApiClient

_COUNTS = ("pool", "domain", "due", "scheduled", "claimed", "held")
_COLUMNS = (*_COUNTS, "oldest", "next due", "why")


@commands.group(help="The queues of the cluster.")
def command() -> None:
    pass


@command.command("list", help="The queues with their counts, what pauses hold of them, and why they wait.")
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
        print_table(_COLUMNS, [_row(queue) for queue in queues])
        if more:
            remote.say("there are more; give --limit or --all")
        return remote.DONE

    remote.run(work)


def _row(queue: Mapping[str, Any]) -> list[object]:
    """`oldest` is how long ago the oldest mail was accepted, `next due` when the first of what is not held is due."""
    why = "; ".join(f"{each['count']} {each['text']}" for each in queue["why"])
    return [*(queue[column] for column in _COUNTS), age(queue["oldest"]), instant(queue["next_due"]), why]
