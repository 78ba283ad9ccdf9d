"""`floodgate replies`: knowledge about replies of destinations."""

from collections.abc import Mapping, Sequence
from typing import Any

import click

from mta.cli import commands, remote
from mta.cli.listing import print_list
from mta.cli.options import ALL, AS_JSON, LIMIT
from mta.cli.tables import instant, print_fields
from mta.http_out.api_client import ApiClient
from mta.model.replies import ALIASES, Fault, Reaction

_COLUMNS = ("name", "layer", "category", "fault", "reaction", "code", "enhanced", "pattern")
_UNKNOWN = ("count", "provider", "code", "enhanced", "text", "last")
_NAME = click.argument("name", metavar="NAME")


@commands.group(help="Knowledge about replies: which reply means what.")
def command() -> None:
    pass


@command.command("list", help="List the entries in the order in which a reply meets them.")
@click.option("--category", type=click.Choice(list(ALIASES)), help="Entries of this category.")
@click.option("--layer", type=click.Choice(["cluster", "settings", "shipped"]), help="Entries of this layer only.")
@LIMIT
@ALL
@AS_JSON
def list_(category: str | None, layer: str | None, limit: int, everything: bool, as_json: bool) -> None:
    asked = remote.without_unset(category=category, layer=layer)

    async def work(client: ApiClient) -> int:
        found, more = await remote.pages(client, "/v1/replies", asked, limit, everything, "replies")
        return print_list(found, more, as_json, _COLUMNS, _row)

    remote.run(work)


@command.command(help="List the replies that no entry knows, the most frequent first.")
@AS_JSON
def unknown(as_json: bool) -> None:
    async def work(client: ApiClient) -> int:
        found = (await client.ask("GET", "/v1/replies/unknown")).body["replies"]
        return print_list(found, False, as_json, _UNKNOWN, _unknown_row)

    remote.run(work)


@command.command("set", help="Make an entry of the cluster, or replace one.")
@_NAME
@click.option("--pattern", help="RE2 expression anywhere in the text of the reply, in any case.")
@click.option("--code", "codes", multiple=True, help='A reply code, an x for any digit: "45x"; may be repeated.')
@click.option("--enhanced", help='Enhanced code, an x for any class: "x.1.1".')
@click.option("--provider", help="The mail provider or the program, as a label.")
@click.option("--category", required=True, help="Its category.")
@click.option("--fault", type=click.Choice([one.value for one in Fault]), required=True, help="The party at fault.")
@click.option(
    "--reaction",
    type=click.Choice([one.value for one in Reaction]),
    required=True,
    help="The next step for the delivery.",
)
@click.option("--disabled", is_flag=True, help="No entry of this name is in use, not even a shipped one.")
@click.option("--sample", help="A real reply that it is made for.")
@click.option("--source", help="The page or the log that the sample is from.")
@AS_JSON
def set_(name: str, codes: tuple[str, ...], disabled: bool, as_json: bool, **fields: str | None) -> None:
    body: dict[str, Any] = remote.without_unset(**fields)
    if codes:
        body["code"] = list(codes)
    if disabled:
        body["enabled"] = False

    async def work(client: ApiClient) -> int:
        entry = (await client.ask("PUT", f"/v1/replies/{name}", body=body)).body
        remote.out_json(entry) if as_json else print_fields(entry)
        return remote.DONE

    remote.run(work)


@command.command(help="Remove an entry of the cluster.")
@_NAME
@AS_JSON
def remove(name: str, as_json: bool) -> None:
    async def work(client: ApiClient) -> int:
        entry = (await client.ask("DELETE", f"/v1/replies/{name}")).body
        remote.out_json(entry) if as_json else print_fields(entry)
        return remote.DONE

    remote.run(work)


def _row(entry: Mapping[str, Any]) -> Sequence[object]:
    shown = {**entry, "code": " ".join(entry.get("code", ()))}
    return [str(shown.get(column, "")) for column in _COLUMNS]


def _unknown_row(reply: Mapping[str, Any]) -> Sequence[object]:
    return [*(str(reply.get(column, "")) for column in _UNKNOWN[:-1]), instant(reply.get("last_at"))]
