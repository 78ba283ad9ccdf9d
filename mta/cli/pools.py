"""`floodgate pools`: IP pools."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import click

from mta.cli import commands, remote
from mta.cli.listing import print_list
from mta.cli.options import ALL, AS_JSON, LIMIT
from mta.cli.tables import print_fields
from mta.http_out.api_client import ApiClient

_COLUMNS = ("name", "layer", "ips", "weights", "ehlo", "nodes", "description")
_NAME = click.argument("name", metavar="NAME")
_IP = click.argument("ip", metavar="IP")
_WAIT = click.option(
    "--wait",
    default=remote.DEFAULT_WAIT,
    show_default=True,
    callback=remote.seconds,
    help="How long to wait until every process follows.",
)


@commands.group(help="IP pools of the cluster: they take the place of those of settings files.")
def command() -> None:
    pass


@command.command("list", help="List the pools, and the nodes that serve each.")
@LIMIT
@ALL
@AS_JSON
def list_(limit: int, everything: bool, as_json: bool) -> None:
    async def work(client: ApiClient) -> int:
        pools, more = await remote.pages(client, "/v1/pools", {}, limit, everything, "pools")
        return print_list(pools, more, as_json, _COLUMNS, _row)

    remote.run(work)


@command.command(help="Show one pool.")
@_NAME
@AS_JSON
def show(name: str, as_json: bool) -> None:
    async def work(client: ApiClient) -> int:
        pool = (await client.ask("GET", _path(name))).body
        remote.out_json(pool) if as_json else print_fields(pool)
        return remote.DONE

    remote.run(work)


@command.command("set", help="Make a pool of the cluster, or change one; what is not given stays as it is.")
@_NAME
@click.option("--ip", "ips", multiple=True, help='A sending IP; may be repeated, and replaces all; "" alone = none.')
@click.option(
    "--weight", "weights", multiple=True, metavar="IP=N", help="Share of an IP against the others; replaces all."
)
@click.option("--ehlo", help='Our name towards destinations; "" = smtp.hostname of each node.')
@click.option(
    "--warmup",
    "days",
    multiple=True,
    type=int,
    metavar="N",
    help="Messages of an IP to one site on a day of its warm-up; repeated for each day; 0 alone = none.",
)
@click.option("--warm", multiple=True, metavar="IP", help='An IP that is warm already; "" alone = none.')
@click.option("--description", help="A note for people.")
@_WAIT
@AS_JSON
def set_(
    name: str,
    ips: tuple[str, ...],
    weights: tuple[str, ...],
    ehlo: str | None,
    days: tuple[int, ...],
    warm: tuple[str, ...],
    description: str | None,
    wait: float,
    as_json: bool,
) -> None:
    changes: dict[str, Any] = remote.without_unset(name=name, description=description, ehlo=ehlo)
    if ips:
        changes["ips"] = [ip for ip in ips if ip]
    if weights:
        changes["weights"] = {ip: _weight(number) for ip, _, number in (one.rpartition("=") for one in weights)}
    if days:
        changes["warmup"] = [day for day in days if day]
    if warm:
        changes["warm"] = [ip for ip in warm if ip]
    if len(changes) == 1:
        raise click.UsageError("give --ip, --weight, --ehlo, --warmup, --warm or --description")
    remote.run(lambda client: _order(client, "POST", "/v1/pools", wait, as_json, changes))


@command.command(help="Remove a pool of the cluster; a settings file may have one of the name.")
@_NAME
@_WAIT
@AS_JSON
def remove(name: str, wait: float, as_json: bool) -> None:
    remote.run(lambda client: _order(client, "DELETE", _path(name), wait, as_json))


@command.command("add-ip", help="Add an IP to a pool of the cluster.")
@_NAME
@_IP
@click.option("--weight", type=click.IntRange(1, 1000), help="Its share against the others.")
@_WAIT
@AS_JSON
def add_ip(name: str, ip: str, weight: int | None, wait: float, as_json: bool) -> None:
    body = remote.without_unset(name=name, ip=ip, weight=weight)
    remote.run(lambda client: _order(client, "POST", "/v1/poolips", wait, as_json, body))


@command.command("remove-ip", help="Take an IP out of a pool of the cluster; its mail goes on from the others.")
@_NAME
@_IP
@_WAIT
@AS_JSON
def remove_ip(name: str, ip: str, wait: float, as_json: bool) -> None:
    remote.run(lambda client: _order(client, "DELETE", "/v1/poolips", wait, as_json, {"name": name, "ip": ip}))


async def _order(
    client: ApiClient, method: str, path: str, wait: float, as_json: bool, body: Mapping[str, Any] | None = None
) -> int:
    answer = await client.ask(method, path, [("wait", f"{wait:g}")], body, within=wait + 30.0)
    pool = answer.body
    for warning in pool["warnings"]:
        remote.say(f"warning: {warning}")
    if as_json:
        remote.out_json(pool)
    else:
        print_fields({field: value for field, value in pool.items() if field not in ("warnings", "waits")})
    return remote.DONE if pool["in_force"] else remote.NOT_YET


def _weight(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise click.BadParameter("give IP=N, such as 192.0.2.1=3", param_hint="--weight")
    return int(text)


def _path(name: str) -> str:
    return f"/v1/pools/{quote(name, safe='')}"


def _row(pool: Mapping[str, Any]) -> list[object]:
    weights = " ".join(f"{ip}={weight}" for ip, weight in pool.get("weights", {}).items())
    shown = {**pool, "weights": weights}
    return [shown.get(column) for column in _COLUMNS]
