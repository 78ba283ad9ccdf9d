"""`floodgate tenants`: the terms of tenants."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import click

from mta.cli import commands, remote
from mta.cli.listing import print_list
from mta.cli.options import ALL, AS_JSON, LIMIT
from mta.cli.rules import UNTIL, WAIT, show_effect
from mta.cli.tables import instant, print_fields
from mta.http_out.api_client import ApiClient, ApiRefused

_COLUMNS = ("name", "state", "weight", "pool", "senders", "dkim_domain", "created", "by", "reason")
_TERMS = ("state", "weight", "pool", "senders", "dkim_domain", "reason")
_TRIES = 5  # of a change while others change the same terms
_NAME = click.argument("name", metavar="NAME")


@commands.group(help="The terms of tenants: state, weight, pool, senders, dkim_domain.")
def command() -> None:
    pass


@command.command("list", help="List the tenants that have terms.")
@LIMIT
@ALL
@AS_JSON
def list_(limit: int, everything: bool, as_json: bool) -> None:
    async def work(client: ApiClient) -> int:
        tenants, more = await remote.pages(client, "/v1/tenants", {}, limit, everything, "tenants")
        return print_list(tenants, more, as_json, _COLUMNS, _row)

    remote.run(work)


@command.command(help="Show the terms of one tenant, and how much of its mail they hold.")
@_NAME
@AS_JSON
def show(name: str, as_json: bool) -> None:
    async def work(client: ApiClient) -> int:
        tenant = (await client.ask("GET", _path(name))).body
        remote.out_json(tenant) if as_json else print_fields(tenant)
        return remote.DONE

    remote.run(work)


@command.command("set", help="Change terms of one tenant; those that are not given stay as they are.")
@_NAME
@click.option("--weight", type=click.IntRange(1, 100), help="Its deliveries for one of a tenant with weight 1.")
@click.option("--pool", help='The pool of its mail that asks for none; "" = smtp.default_pool.')
@click.option("--sender", "senders", multiple=True, help='A domain that its mail may come from; "" alone = any.')
@click.option("--dkim-domain", help='Signs its mail whose From domain has no key; "" = dkim.default_domain.')
@click.option("--reason", help="A note for people.")
@WAIT
@UNTIL
@AS_JSON
def set_(
    name: str,
    weight: int | None,
    pool: str | None,
    senders: tuple[str, ...],
    dkim_domain: str | None,
    reason: str | None,
    wait: float,
    until: str,
    as_json: bool,
) -> None:
    changes = remote.without_unset(weight=weight, reason=reason)
    if pool is not None:
        changes["pool"] = pool or None
    if dkim_domain is not None:
        changes["dkim_domain"] = dkim_domain or None
    if senders:
        changes["senders"] = [sender for sender in senders if sender]
    if not changes:
        raise click.UsageError("give --weight, --pool, --sender, --dkim-domain or --reason")
    remote.run(lambda client: _change(client, name, changes, wait, until, as_json))


@command.command(help="Refuse the mail of one tenant with 550 5.7.1, and hold what waits.")
@_NAME
@click.option("--reason", help="A note for people.")
@WAIT
@UNTIL
@AS_JSON
def suspend(name: str, reason: str | None, wait: float, until: str, as_json: bool) -> None:
    changes = {"state": "suspended", **remote.without_unset(reason=reason)}
    remote.run(lambda client: _change(client, name, changes, wait, until, as_json))


@command.command(help="Take mail of a suspended tenant again, and release what was held.")
@_NAME
@WAIT
@UNTIL
@AS_JSON
def resume(name: str, wait: float, until: str, as_json: bool) -> None:
    changes = {"state": "active", "reason": None}
    remote.run(lambda client: _change(client, name, changes, wait, until, as_json))


async def _change(
    client: ApiClient, name: str, changes: Mapping[str, Any], wait: float, until: str, as_json: bool
) -> int:
    """Nobody else's change is lost: the terms are read, and written where they are still as they were."""
    for last in reversed(range(_TRIES)):
        terms, headers = await _read(client, name)
        body = {field: value for field, value in {**terms, **changes}.items() if value is not None}
        params = [("wait", f"{wait:g}"), ("until", until)]
        try:
            answer = await client.ask("PUT", _path(name), params, body, within=wait + 30.0, headers=headers)
        except ApiRefused as refused:
            if refused.status != 412 or not last:
                raise
            continue
        tenant = answer.body
        if as_json:
            remote.out_json(tenant)
        else:
            click.echo(f"{tenant['name']}  {tenant['state']}")
            show_effect(tenant)
        return remote.DONE if answer.status != 202 else remote.NOT_YET
    raise AssertionError("unreachable")


async def _read(client: ApiClient, name: str) -> tuple[dict[str, Any], dict[str, str]]:
    """The terms as they stand, and the condition under which they may be replaced."""
    try:
        found = (await client.ask("GET", _path(name))).body
    except ApiRefused as refused:
        if refused.status != 404:
            raise
        return {}, {}
    return {field: found.get(field) for field in _TERMS}, {"If-Match": f'"{found["generation"]}"'}


def _path(name: str) -> str:
    return f"/v1/tenants/{quote(name, safe='')}"


def _row(tenant: Mapping[str, Any]) -> list[object]:
    return [
        *(tenant.get(field) for field in ("name", "state", "weight", "pool", "senders", "dkim_domain")),
        instant(tenant["created_at"]),
        tenant.get("changed_by", tenant["created_by"]),
        tenant.get("reason"),
    ]
