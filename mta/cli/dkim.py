"""`floodgate dkim`: the keys that sign mail."""

import sys
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import click

from mta.cli import commands, remote
from mta.cli.listing import print_list
from mta.cli.options import ALL, AS_JSON, LIMIT
from mta.cli.tables import instant, print_table
from mta.http_out.api_client import ApiClient, ApiRefused

_COLUMNS = ("domain", "selector", "algorithm", "bits", "state", "tenant", "created", "by", "dns", "keep until")
_ALGORITHM = click.Choice(["rsa", "ed25519"])
_KEY = click.option(
    "--private-key", type=click.File("r"), help="A file with a private key in PEM, - = standard input; else a new one."
)
_ACTIVE = click.option("--active", is_flag=True, help="Sign from now on; else once DNS shows the record.")
_SELECTED = click.argument("selected", metavar="DOMAIN[/SELECTOR]")


@commands.group(help="The keys that sign mail.")
def command() -> None:
    pass


@command.command(help="Make a key, or take one that is there, and print the record that DNS must show.")
@click.argument("domain", metavar="DOMAIN")
@click.option("--selector", required=True, help="Its name in DNS is SELECTOR._domainkey.DOMAIN.")
@click.option("--algorithm", type=_ALGORITHM, default="rsa", help="rsa (2048 bits, default) or ed25519.")
@click.option("--tenant", help="Sign the mail of this tenant only.")
@_KEY
@_ACTIVE
@AS_JSON
def add(
    domain: str, selector: str, algorithm: str, tenant: str | None, private_key: Any, active: bool, as_json: bool
) -> None:
    body = {"domain": domain, "selector": selector, "algorithm": algorithm} | _given(private_key, active)
    body |= remote.without_unset(tenant=tenant)

    async def work(client: ApiClient) -> int:
        key = (await client.ask("POST", "/v1/dkim", body=body)).body
        remote.out_json(key) if as_json else _print_record(key)
        return remote.DONE

    remote.run(work)


@command.command("list", help="List the keys; their private parts are not shown.")
@click.option("--domain", help="Those of this domain.")
@click.option("--tenant", help="Those of this tenant.")
@LIMIT
@ALL
@AS_JSON
def list_(domain: str | None, tenant: str | None, limit: int, everything: bool, as_json: bool) -> None:
    async def work(client: ApiClient) -> int:
        params = remote.without_unset(domain=domain, tenant=tenant)
        keys, more = await remote.pages(client, "/v1/dkim", params, limit, everything, "keys")
        return print_list(keys, more, as_json, _COLUMNS, _row)

    remote.run(work)


@command.command(help="Make a key that takes the place of another one, which signs until DNS shows the new record.")
@_SELECTED
@click.option("--selector", help="Of the new key; default: one made of today's date.")
@click.option("--algorithm", type=_ALGORITHM, help="Of the new key; default: that of the old one.")
@_KEY
@_ACTIVE
@AS_JSON
def rotate(
    selected: str, selector: str | None, algorithm: str | None, private_key: Any, active: bool, as_json: bool
) -> None:
    body = remote.without_unset(selector=selector, algorithm=algorithm) | _given(private_key, active)

    async def work(client: ApiClient) -> int:
        old = _one([key for key in await _keys(client, selected) if key["state"] != "retired"], selected)
        key = (await client.ask("POST", f"{_path(old)}/rotate", body=body)).body
        if as_json:
            remote.out_json(key)
        else:
            _print_record(key)
            remote.say(f"leave the record of {old['selector']} in DNS for a week after the new key is active")
        return remote.DONE

    remote.run(work)


@command.command(help="Look for the records of keys in DNS now. Exit status 1: a key is not shown.")
@_SELECTED
@AS_JSON
def check(selected: str, as_json: bool) -> None:
    async def work(client: ApiClient) -> int:
        keys = [key for key in await _keys(client, selected) if key["state"] != "retired"]
        found = [(await client.ask("POST", f"{_path(key)}/check")).body for key in keys]
        if as_json:
            remote.out_json(found)
        else:
            print_table(("key", "state", "shown", "dns"), [_look(key) for key in found])
        return remote.DONE if all(key["dns"]["shows"] for key in found) else remote.FAILED

    remote.run(work)


@command.command(help="Remove a key: it signs no more.")
@_SELECTED
@click.option("--yes", is_flag=True, help="Do not ask.")
@AS_JSON
def remove(selected: str, yes: bool, as_json: bool) -> None:
    async def work(client: ApiClient) -> int:
        key = _one(await _keys(client, selected), selected)
        if not yes:
            if not remote.is_terminal():
                raise ApiRefused(400, "no mail is signed with a removed key; give --yes", None)
            click.confirm(f"Remove {key['record']['name']} ({key['state']})?", abort=True)
        gone = (await client.ask("DELETE", _path(key))).body
        remote.out_json(gone) if as_json else click.echo(f"removed {gone['record']['name']}")
        return remote.DONE

    remote.run(work)


def _given(private_key: Any, active: bool) -> dict[str, str]:
    body = {} if private_key is None else {"private_key": private_key.read()}
    return body | ({"state": "active"} if active else {})


async def _keys(client: ApiClient, selected: str) -> list[dict[str, Any]]:
    """The keys of `DOMAIN`, or the one of `DOMAIN/SELECTOR`. Raises ApiRefused: there are none."""
    domain, _, selector = selected.partition("/")
    keys, _ = await remote.pages(client, "/v1/dkim", {"domain": domain}, 1, True, "keys")
    found = [key for key in keys if selector.lower() in ("", key["selector"])]
    if not found:
        raise ApiRefused(404, f"there is no DKIM key {selected}", None)
    return found


def _one(keys: list[dict[str, Any]], selected: str) -> dict[str, Any]:
    if len(keys) == 1:
        return keys[0]
    if not keys:
        raise ApiRefused(404, f"each key of {selected} has retired", None)
    names = ", ".join(f"{key['domain']}/{key['selector']}" for key in keys)
    raise ApiRefused(400, f"{selected} has several keys; give one of {names}", None)


def _path(key: Mapping[str, Any]) -> str:
    return f"/v1/dkim/{quote(key['id'], safe='')}"


def _print_record(key: Mapping[str, Any]) -> None:
    """The record on standard output, words about it on standard error."""
    record = key["record"]
    click.echo(f"{record['name']}. {record['type']} {record['value']}")
    for warning in key.get("warnings", ()):
        remote.say(warning)
    if key["state"] == "active":
        remote.say(f"the key signs from now on; publish this record ({record['name']})")
    else:
        remote.say(f"publish this record; the key signs once DNS shows it: floodgate dkim check {key['domain']}")
    sys.stdout.flush()


def _look(key: Mapping[str, Any]) -> list[object]:
    return [key["record"]["name"], key["state"], key["dns"]["shows"], key["dns"]["text"]]


def _row(key: Mapping[str, Any]) -> list[object]:
    return [
        *(key.get(field) for field in ("domain", "selector", "algorithm", "bits", "state", "tenant")),
        instant(key["created_at"]),
        key["created_by"],
        key.get("dns", {}).get("text"),
        instant(key.get("keep_until")),
    ]
