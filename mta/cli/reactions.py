"""`floodgate reactions`: orders that Floodgate gives by itself when destinations give certain replies too often."""

from collections.abc import Mapping
from typing import Any

from mta.cli import commands, remote
from mta.cli.listing import print_list
from mta.cli.options import AS_JSON
from mta.http_out.api_client import ApiClient

_COLUMNS = ("name", "site", "replies", "threshold", "action", "for", "scope", "in force")


@commands.group(help="Reactions to replies of destinations.")
def command() -> None:
    pass


@command.command("list", help="List the reactions, and how many limits of each are in force.")
@AS_JSON
def list_(as_json: bool) -> None:
    async def work(client: ApiClient) -> int:
        answer = (await client.ask("GET", "/v1/reactions")).body
        in_force: dict[str, int] = {}
        for order in answer["orders"]:
            in_force[order["created_by"]] = in_force.get(order["created_by"], 0) + 1
        found = [{**one, "in_force": in_force.get(f"reaction:{one['name']}", 0)} for one in answer["reactions"]]
        return print_list(found, False, as_json, _COLUMNS, _row)

    remote.run(work)


def _row(one: Mapping[str, Any]) -> list[object]:
    replies = " ".join(part for part in (*one["code"], one["enhanced"], one["text"]) if part)
    action = f"{one['action']} {one['value']}".strip() if one["enabled"] else "disabled"
    for_ = f"{one['for']:g}s"
    return [one["name"], one["site"], replies, one["threshold"], action, for_, one["scope"], one["in_force"]]
