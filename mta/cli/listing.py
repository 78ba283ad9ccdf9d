"""The parts that commands which list share: filters of deliveries, tables, and long answers written as they come."""

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
            click.option("--site", help="Mail to this site: the provider that takes the mail of its domains."),
            click.option("--tenant", help="Mail of this tenant."),
            click.option("--rule", help="Mail that this rule decided about last."),
            click.option("--category", help="Mail whose last reply is of this category, such as bad_mailbox."),
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
    found, more = await remote.pages(client, "/v1/messages", params, limit, everything, "messages")
    return print_list(found, more, as_json, _COLUMNS, _row)


def print_list(
    found: Sequence[Any],
    more: bool,
    as_json: bool,
    columns: Sequence[str],
    row: Callable[[Mapping[str, Any]], Sequence[object]],
) -> int:
    """Items of a list, with a word where there are more of them; the command's exit status."""
    if as_json:
        remote.out_json(found)
        return remote.DONE
    print_table(columns, [row(one) for one in found])
    if more:
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
