"""`floodgate audit`: the record of all orders, with actor, time and origin."""

from collections.abc import Mapping
from typing import Any

import click

from mta.cli import commands, remote
from mta.cli.listing import print_list
from mta.cli.options import ALL, AS_JSON, LIMIT
from mta.cli.tables import instant
from mta.http_out.api_client import ApiClient

_COLUMNS = ("when", "action", "of", "by", "from", "tenant", "result", "changed")


@commands.command(help="List orders, the newest first: who, when, from where, and what they changed.")
@click.option("--action", help="Only this action, such as pause.edited, or all of a kind, such as pause.")
@click.option("--of", help="Only orders about the rule, token, message or tenant with this id or name.")
@click.option("--by", help="Only orders with the token of this name or id.")
@click.option("--tenant", help="Only orders about the things of this tenant.")
@click.option("--from", "since", help="Only orders at or after this time (RFC 3339).")
@click.option("--until", help="Only orders before this time (RFC 3339).")
@LIMIT
@ALL
@AS_JSON
def command(limit: int, everything: bool, as_json: bool, since: str | None, **given: str | None) -> None:
    async def work(client: ApiClient) -> int:
        wanted = remote.without_unset(**given, **{"from": since})
        entries, more = await remote.pages(client, "/v1/audit", wanted, limit, everything, "entries")
        return print_list(entries, more, as_json, _COLUMNS, _row)

    remote.run(work)


def _row(entry: Mapping[str, Any]) -> list[object]:
    return [
        instant(entry["at"]),
        entry["action"],
        entry["of"],
        entry["by"],
        entry.get("client"),
        entry.get("tenant"),
        entry["result"],
        _changed(entry.get("before", {}), entry.get("after", {})),
    ]


def _changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """The fields that the order changed."""
    if not before or not after:
        return ""
    names = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
    return ", ".join(f"{name}: {before.get(name, '-')} -> {after.get(name, '-')}" for name in names)
