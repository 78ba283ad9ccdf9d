"""`floodgate token`: the tokens that open the API."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import click

from mta.cli import commands, remote
from mta.cli.listing import print_list
from mta.cli.options import ALL, AS_JSON, LIMIT
from mta.cli.tables import instant
from mta.http_out.api_client import ApiClient
from mta.model.scopes import Scope

_COLUMNS = ("id", "name", "scopes", "tenant", "simulate", "created", "by", "ends", "expired")


@commands.group(help="The tokens that open the API.")
def command() -> None:
    pass


@command.command(help="Make a token and print it. It is never shown again.")
@click.option("--name", required=True, help="The user or program that has it, for people.")
@click.option("--scope", "scopes", multiple=True, required=True, type=click.Choice([str(scope) for scope in Scope]))
@click.option("--tenant", help="The tenant whose mail alone it reaches.")
@click.option("--simulate", is_flag=True, help="All mail that is handed in with it reaches nobody.")
@click.option("--expires-at", help="When it ends: RFC 3339, or +30d.")
@AS_JSON
def create(
    name: str, scopes: tuple[str, ...], tenant: str | None, simulate: bool, expires_at: str | None, as_json: bool
) -> None:
    async def work(client: ApiClient) -> int:
        asked = remote.without_unset(tenant=tenant, simulate=simulate or None, expires_at=expires_at)
        body = {"name": name, "scopes": list(scopes), **asked}
        made = (await client.ask("POST", "/v1/tokens", body=body)).body
        if as_json:
            remote.out_json(made)
        else:
            click.echo(made["token"])
            remote.say(f"token {made['id']}; it is not shown again. To revoke it: floodgate token revoke {made['id']}")
        return remote.DONE

    remote.run(work)


@command.command("list", help="List the tokens; their text is not shown.")
@LIMIT
@ALL
@AS_JSON
def list_(limit: int, everything: bool, as_json: bool) -> None:
    async def work(client: ApiClient) -> int:
        tokens, more = await remote.pages(client, "/v1/tokens", {}, limit, everything, "tokens")
        return print_list(tokens, more, as_json, _COLUMNS, _row)

    remote.run(work)


@command.command(help="Revoke a token: every node refuses it within a second.")
@click.argument("token_id", metavar="ID")
@AS_JSON
def revoke(token_id: str, as_json: bool) -> None:
    async def work(client: ApiClient) -> int:
        gone = (await client.ask("DELETE", f"/v1/tokens/{quote(token_id, safe='')}")).body
        remote.out_json(gone) if as_json else click.echo(f"revoked {gone['id']}  {gone['name']}")
        return remote.DONE

    remote.run(work)


def _row(token: Mapping[str, Any]) -> list[object]:
    return [
        token["id"],
        token["name"],
        token["scopes"],
        token.get("tenant"),
        token.get("simulate"),
        instant(token["created_at"]),
        token["created_by"],
        instant(token.get("expires_at")),
        token["expired"],
    ]
