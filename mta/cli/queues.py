"""`floodgate queues`: the waiting mail, by pool and domain."""

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


@command.command("list", help="List the queues: their counts, how much of them pauses hold, and why the mail waits.")
@click.option("--pool", help="Queues of exactly this pool.")
@click.option("--domain", help="Queues of exactly this domain.")
@click.option("--limit", type=click.IntRange(1), default=100, help="List at most so many queues (default 100).")
@click.option("--all", "everything", is_flag=True, help="List all of them.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_(pool: str | None, domain: str | None, limit: int, everything: bool, as_json: bool) -> None:
    async def work(client: ApiClient) -> int:
        filters = remote.without_unset(pool=pool, domain=domain)
        queues, more = await remote.pages(client, "/v1/queues", filters, limit, everything, "queues")
        if as_json:
            remote.out_json(queues)
            return remote.DONE
        print_table(_COLUMNS, [_row(queue) for queue in queues])
        if more:
            remote.say("the list is cut off; give --limit or --all for the rest")
        return remote.DONE

    remote.run(work)


def _row(queue: Mapping[str, Any]) -> list[object]:
    """`oldest` is the age of the oldest mail; `next due` is the due time of the first delivery that is not held."""
    why = "; ".join(f"{each['count']} {each['text']}" for each in queue["why"])
    return [*(queue[column] for column in _COUNTS), age(queue["oldest"]), instant(queue["next_due"]), why]
