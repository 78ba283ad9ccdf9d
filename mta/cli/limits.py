"""`floodgate limits`: limits of sites for the whole cluster."""

from collections.abc import Mapping
from typing import Any

import click

from mta.cli import commands, remote
from mta.cli.listing import print_list
from mta.cli.options import AS_JSON
from mta.cli.tables import instant, print_fields
from mta.http_out.api_client import ApiClient

_COLUMNS = ("id", "site", "for", "limits now", "until", "by", "reason")


@commands.group(help="Limits of sites for the whole cluster, ordered by people and by reactions.")
def command() -> None:
    pass


@command.command("list", help="List the limit orders that are in force.")
@click.option("--site", help="Those of this site only.")
@AS_JSON
def list_(site: str | None, as_json: bool) -> None:
    asked = list(remote.without_unset(site=site).items())

    async def work(client: ApiClient) -> int:
        found = (await client.ask("GET", "/v1/limits/orders", asked)).body["orders"]
        return print_list(found, False, as_json, _COLUMNS, _row)

    remote.run(work)


@command.command("set", help="Limit the mail to a site, or that of one pool or sending IP; in place of the last order.")
@click.option("--site", required=True, help="The site, as queues list shows it.")
@click.option("--pool", help="For the mail of this pool only.")
@click.option("--ip", help="For mail from this sending IP only; node:NAME = the IP that a node's system chooses.")
@click.option("--closed", is_flag=True, help="No mail leaves.")
@click.option("--connections", type=int, help="Most connections at once.")
@click.option("--connections-per-minute", type=float, help="Most new connections a minute.")
@click.option("--messages-per-minute", type=float, help="Most messages a minute.")
@click.option("--messages-per-connection", type=int, help="Most messages of one connection.")
@click.option("--duration", help='For so long, such as "30m"; else until it is removed.')
@click.option("--reason", help="For people.")
@AS_JSON
def set_(closed: bool, as_json: bool, **fields: str | float | None) -> None:
    body: dict[str, Any] = {name: value for name, value in fields.items() if value is not None}
    if closed:
        body["closed"] = True

    async def work(client: ApiClient) -> int:
        order = (await client.ask("PUT", "/v1/limits", body=body)).body
        remote.out_json(order) if as_json else print_fields(order)
        return remote.DONE

    remote.run(work)


@command.command(help="Lift a limit order.")
@click.argument("order", metavar="ID")
@AS_JSON
def remove(order: str, as_json: bool) -> None:
    async def work(client: ApiClient) -> int:
        found = (await client.ask("DELETE", f"/v1/limits/orders/{order}")).body
        remote.out_json(found) if as_json else print_fields(found)
        return remote.DONE

    remote.run(work)


def _row(order: Mapping[str, Any]) -> list[object]:
    part = f"pool {order['pool']}" if "pool" in order else order.get("ip", "all mail")
    now = ", ".join(name if name == "closed" else f"{name} {value:g}" for name, value in order["now"].items())
    until = instant(order["until"])
    return [order["id"], order["site"], part, now, until, order["created_by"], order.get("reason", "")]
