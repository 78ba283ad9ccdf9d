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

_COLUMNS = ("name", "state", "weight", "quota", "pool", "senders", "dkim_domain", "created", "by", "reason")
_TERMS = ("state", "weight", "quota", "pool", "senders", "dkim_domain", "reason")
_TRIES = 5  # of a change while others change the same terms
_BOUND = click.IntRange(min=0)
_NAME = click.argument("name", metavar="NAME")


@commands.group(help="The terms of tenants: state, weight, quota, pool, senders, dkim_domain.")
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
@click.option("--per-hour", type=_BOUND, help="Its deliveries that are accepted in an hour; 0 = any number.")
@click.option("--per-day", type=_BOUND, help="Its deliveries that are accepted in a day (UTC); 0 = any number.")
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
    per_hour: int | None,
    per_day: int | None,
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
    bounds = remote.without_unset(per_hour=per_hour, per_day=per_day)
    if not changes and not bounds:
        raise click.UsageError("give --weight, --per-hour, --per-day, --pool, --sender, --dkim-domain or --reason")
    remote.run(lambda client: _change(client, name, changes, wait, until, as_json, bounds))


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
    client: ApiClient,
    name: str,
    changes: Mapping[str, Any],
    wait: float,
    until: str,
    as_json: bool,
    bounds: Mapping[str, int] = {},
) -> int:
    """Nobody else's change is lost: the terms are read, and written where they are still as they were. `bounds` are
    those of the quota that change, 0 = none."""
    for last in reversed(range(_TRIES)):
        terms, headers = await _read(client, name)
        body = {field: value for field, value in {**terms, **changes}.items() if value is not None}
        quota = {name: bound for name, bound in {**(terms.get("quota") or {}), **bounds}.items() if bound}
        body["quota"] = quota or None
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


def _quota(quota: Mapping[str, Any]) -> str | None:
    bounds = ((quota.get("per_hour"), "h"), (quota.get("per_day"), "d"))
    return ", ".join(f"{bound}/{per}" for bound, per in bounds if bound) or None


def _row(tenant: Mapping[str, Any]) -> list[object]:
    return [
        *(tenant.get(field) for field in ("name", "state", "weight")),
        _quota(tenant.get("quota") or {}),
        *(tenant.get(field) for field in ("pool", "senders", "dkim_domain")),
        instant(tenant["created_at"]),
        tenant.get("changed_by", tenant["created_by"]),
        tenant.get("reason"),
    ]
