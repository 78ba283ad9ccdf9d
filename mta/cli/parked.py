"""`floodgate parked`: the mail that Floodgate itself failed to process."""

from collections.abc import Mapping
from typing import Any

import click

from mta.cli import commands, remote
from mta.cli.listing import print_list
from mta.cli.options import ALL, AS_JSON, LIMIT
from mta.cli.repeated_order import answers, selection
from mta.cli.rules import YES
from mta.cli.tables import instant, print_table
from mta.http_out.api_client import ApiClient

_COLUMNS = ("id", "recipient", "pool", "domain", "parked", "why")
_PREVIEW = 10  # deliveries that are shown before they are lost

POOL = click.option("--pool", help="Mail of exactly this pool.")
DOMAIN = click.option("--domain", help="Mail to exactly this domain.")
TENANT = click.option("--tenant", help="Mail of this account.")
IDS = click.argument("ids", metavar="[ID]...", nargs=-1)
EVERYTHING = click.option("--everything", is_flag=True, help="All parked mail; needed where nothing else selects.")


@commands.group(help="Parked mail: list, release, remove.")
def command() -> None:
    pass


@command.command("list", help="List the parked deliveries, oldest first, and why they are parked.")
@POOL
@DOMAIN
@TENANT
@LIMIT
@ALL
@AS_JSON
def list_(
    pool: str | None, domain: str | None, tenant: str | None, limit: int, everything: bool, as_json: bool
) -> None:
    async def work(client: ApiClient) -> int:
        filters = remote.without_unset(pool=pool, domain=domain, tenant=tenant)
        found, more = await remote.pages(client, "/v1/parked", filters, limit, everything, "parked")
        return print_list(found, more, as_json, _COLUMNS, _row)

    remote.run(work)


@command.command(help="Put parked deliveries back into their queues, due now.")
@IDS
@POOL
@DOMAIN
@TENANT
@EVERYTHING
@AS_JSON
def release(ids: tuple[str, ...], everything: bool, as_json: bool, **selected: str | None) -> None:
    selectors = _selectors(ids, selected, everything)

    async def work(client: ApiClient) -> int:
        sums = {"released": 0, "unreadable": 0}
        async for answer in answers(client, "POST", "/v1/parked/release", selectors):
            sums = {name: count + answer[name] for name, count in sums.items()}
        if as_json:
            remote.out_json(sums)
            return remote.DONE
        click.echo(f"{sums['released']} released")
        if sums["unreadable"]:
            click.echo(f"{sums['unreadable']} stay parked: their records cannot be read; only remove is left for them")
        return remote.DONE

    remote.run(work)


@command.command(help="Give parked deliveries up: they end as canceled, and their content is lost.")
@IDS
@POOL
@DOMAIN
@TENANT
@EVERYTHING
@YES
@AS_JSON
def remove(ids: tuple[str, ...], everything: bool, yes: bool, as_json: bool, **selected: str | None) -> None:
    selectors = _selectors(ids, selected, everything)
    if not yes and not remote.is_terminal():
        raise click.UsageError("this order ends mail; without a terminal, confirm it with --yes")

    async def work(client: ApiClient) -> int:
        if not yes:
            await _ask(client, selectors)
        removed, uncertain, lost = 0, 0, []
        async for answer in answers(client, "DELETE", "/v1/parked", selectors):
            removed, uncertain = removed + answer["removed"], uncertain + answer["uncertain"]
            lost += answer["lost"]
        if as_json:
            remote.out_json({"removed": removed, "uncertain": uncertain, "lost": lost})
            return remote.DONE
        click.echo(f"{removed} removed; {uncertain} of them may have reached their recipients before")
        print_table(_COLUMNS, [_row(one) for one in lost])
        if removed > len(lost):
            click.echo(f"and {removed - len(lost)} more, see the Cancellation lines of the log")
        return remote.DONE

    remote.run(work)


def _selectors(ids: tuple[str, ...], selected: Mapping[str, str | None], everything: bool) -> dict[str, Any]:
    given = remote.without_unset(**selected) | ({"id": list(ids)} if ids else {})
    return selection(given, everything, "give ids, --pool, --domain or --tenant, or --everything")


async def _ask(client: ApiClient, selectors: Mapping[str, Any]) -> None:
    """Show some of what is to be lost."""
    filters = {name: value for name, value in selectors.items() if name in ("pool", "domain", "tenant")}
    found, more = await remote.pages(client, "/v1/parked", filters, 1000, False, "parked")
    chosen = [one for one in found if "id" not in selectors or one["id"] in selectors["id"]]
    print_table(_COLUMNS, [_row(one) for one in chosen[:_PREVIEW]])
    many = f"{len(chosen)}{' or more' if more else ''}"
    click.confirm(f"Remove {many} parked deliveries? Their content is lost.", abort=True)


def _row(parked: Mapping[str, Any]) -> list[object]:
    return [
        parked["id"],
        parked.get("recipient"),
        parked["pool"],
        parked["domain"],
        instant(parked["since"]),
        parked["why"],
    ]
