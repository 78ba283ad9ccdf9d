"""The parts that commands which list deliveries share: filters, the table, and long answers written as they come."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, BinaryIO

import click

from mta.cli import remote
from mta.cli.tables import instant, print_table
from mta.http_out.api_client import ApiClient

Command = Callable[..., Any]

_COLUMNS = ("updated", "id", "recipient", "status", "reason", "tags", "pool", "error")


def filters(command: Command) -> Command:
    """The options that select deliveries; all that are given must match."""
    for option in reversed(
        (
            click.option("--tag", help="Mail with exactly this tag."),
            click.option(
                "--status",
                "statuses",
                multiple=True,
                help="This status, such as DELIVERED or UNDELIVERABLE; may be repeated, and one of them suffices.",
            ),
            click.option("--recipient", help="Exactly this recipient, without case."),
            click.option("--sender", help='Exactly this envelope sender, without case; "" is the null sender.'),
            click.option("--domain", help="Mail to exactly this domain."),
            click.option("--pool", help="Mail in exactly this pool."),
            click.option("--tenant", help="Mail of this tenant."),
            click.option("--rule", help="Mail that this rule decided about last."),
            click.option("--from", "since", help="Accepted at this time or later, in RFC 3339."),
            click.option("--until", help="Accepted before this time."),
        )
    ):
        command = option(command)
    return command


def params_of(statuses: Sequence[str] = (), since: str | None = None, **given: str | None) -> list[tuple[str, str]]:
    """The query string of the options that were given."""
    named = remote.without_unset(**given, **{"from": since})
    return [*named.items(), *(("status", status) for status in statuses)]


async def list_deliveries(
    client: ApiClient, params: Sequence[tuple[str, str]], limit: int, everything: bool, as_json: bool
) -> int:
    """The newest deliveries, at most `limit` of them."""
    found: list[dict[str, Any]] = []
    cursor: str | None = None
    while True:
        size = 1000 if everything else min(1000, limit - len(found))
        asked = [*params, ("limit", str(size)), *((("cursor", cursor),) if cursor else ())]
        page = (await client.ask("GET", "/v1/messages", asked)).body
        found += page["messages"]
        cursor = page["cursor"]
        if cursor is None or (not everything and len(found) >= limit):
            break
    if as_json:
        remote.out_json(found)
        return remote.DONE
    print_table(_COLUMNS, [_row(record) for record in found])
    if cursor is not None:
        remote.say("the list is cut off; give --limit or --all for the rest")
    return remote.DONE


def _row(record: Mapping[str, Any]) -> list[object]:
    error = " ".join(str(part) for part in record.get("error", {}).values())
    names = ("id", "recipient", "status", "reason", "tags", "pool")
    return [instant(record.get("updated_at")), *(record.get(name) for name in names), error]


async def write_out(client: ApiClient, path: str, params: Sequence[tuple[str, str]], output: BinaryIO) -> int:
    """The answer, as it comes. Raises ApiAway where it is cut off."""
    async for piece in client.stream(path, params):
        output.write(piece)
    output.flush()
    return remote.DONE


OUTPUT = click.option("--output", "-o", type=click.File("wb", lazy=True), default="-", help="Write to this file.")
LIMIT = click.option("--limit", type=click.IntRange(1), default=100, help="List at most so many (default 100).")
ALL = click.option("--all", "everything", is_flag=True, help="List all of them.")
AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
