"""`floodgate templates`: templates of mail."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, TextIO
from urllib.parse import quote

import click

from mta.cli import commands, remote
from mta.cli.listing import print_list
from mta.cli.options import ALL, AS_JSON, LIMIT
from mta.cli.tables import instant
from mta.http_out.api_client import ApiClient, ApiRefused

_COLUMNS = ("name", "tenant", "published", "latest", "changed", "by")
_PARTS = ("subject", "text", "html")
_NAME = click.argument("name", metavar="NAME")
_TENANT = click.option("--tenant", help="The template of this tenant; default: the operator's.")
_VERSION = click.option("--version", type=click.IntRange(1), help="Default: the newest one.")


@commands.group(help="Templates of mail, in Jinja2's syntax.")
def command() -> None:
    pass


@command.command("list", help="List the templates.")
@click.option("--tenant", help="Those of this tenant.")
@LIMIT
@ALL
@AS_JSON
def list_(tenant: str | None, limit: int, everything: bool, as_json: bool) -> None:
    async def work(client: ApiClient) -> int:
        params = remote.without_unset(tenant=tenant)
        found, more = await remote.pages(client, "/v1/templates", params, limit, everything, "templates")
        return print_list(found, more, as_json, _COLUMNS, _row)

    remote.run(work)


@command.command(help="Show a template, and the parts of one version.")
@_NAME
@_TENANT
@_VERSION
@AS_JSON
def show(name: str, tenant: str | None, version: int | None, as_json: bool) -> None:
    async def work(client: ApiClient) -> int:
        found = (await client.ask("GET", _path(name), _params(tenant, version))).body
        if as_json:
            remote.out_json(found)
            return remote.DONE
        for one in found["versions"]:
            state = "published" if one["version"] == found["published"] else "draft"
            remote.say(f"version {one['version']}, {state}, {instant(one['created_at'])}, by {one['created_by']}")
        _print_parts(found)
        return remote.DONE

    remote.run(work)


@command.command(
    help="Make a draft of the files: the newest version of a template. Parts that are not given it has not."
)
@_NAME
@click.option("--subject", help="The subject.")
@click.option("--text", type=click.File("r"), help="A file with the plain text, - = standard input.")
@click.option("--html", type=click.File("r"), help="A file with the HTML, - = standard input.")
@click.option("--publish", is_flag=True, help="Let mail use it at once.")
@_TENANT
@AS_JSON
def put(
    name: str,
    subject: str | None,
    text: TextIO | None,
    html: TextIO | None,
    publish: bool,
    tenant: str | None,
    as_json: bool,
) -> None:
    files = {"text": text, "html": html}
    body = remote.without_unset(
        subject=subject, **{part: None if file is None else file.read() for part, file in files.items()}
    )
    if not body:
        raise click.UsageError("give --subject, --text or --html")

    async def work(client: ApiClient) -> int:
        found = (await client.ask("PUT", _path(name), _params(tenant), body=body)).body
        if publish:
            version = {"version": found["version"]}
            found = (await client.ask("POST", f"{_path(name)}/publish", _params(tenant), body=version)).body
        return _tell(found, as_json)

    remote.run(work)


@command.command(help="Let mail use a version, on every node from now on.")
@_NAME
@_TENANT
@_VERSION
@AS_JSON
def publish(name: str, tenant: str | None, version: int | None, as_json: bool) -> None:
    async def work(client: ApiClient) -> int:
        body = remote.without_unset(version=version)
        return _tell((await client.ask("POST", f"{_path(name)}/publish", _params(tenant), body=body)).body, as_json)

    remote.run(work)


@command.command(help="Show the mail that data make of a template; nothing is sent.")
@_NAME
@click.option("--data", type=click.File("r"), help="A file with the values in JSON, - = standard input.")
@click.option("--set", "values", multiple=True, metavar="NAME=TEXT", help="One value; may be repeated.")
@_TENANT
@_VERSION
@AS_JSON
def render(
    name: str, data: TextIO | None, values: tuple[str, ...], tenant: str | None, version: int | None, as_json: bool
) -> None:
    body = {"data": _data(data) | dict(_pair(value) for value in values), **remote.without_unset(version=version)}

    async def work(client: ApiClient) -> int:
        found = (await client.ask("POST", f"{_path(name)}/render", _params(tenant), body=body)).body
        remote.out_json(found) if as_json else _print_parts(found)
        return remote.DONE

    remote.run(work)


@command.command(help="Remove a template with all its versions: mail cannot use it any more.")
@_NAME
@click.option("--yes", is_flag=True, help="Do not ask.")
@_TENANT
@AS_JSON
def remove(name: str, yes: bool, tenant: str | None, as_json: bool) -> None:
    async def work(client: ApiClient) -> int:
        if not yes:
            if not remote.is_terminal():
                raise ApiRefused(400, "all versions of the template go; give --yes", None)
            click.confirm(f"Remove the template {name} with all its versions?", abort=True)
        gone = (await client.ask("DELETE", _path(name), _params(tenant))).body
        remote.out_json(gone) if as_json else click.echo(f"removed {gone['name']}")
        return remote.DONE

    remote.run(work)


def _path(name: str) -> str:
    return f"/v1/templates/{quote(name, safe='')}"


def _params(tenant: str | None, version: int | None = None) -> list[tuple[str, str]]:
    return [(name, str(value)) for name, value in remote.without_unset(tenant=tenant, version=version).items()]


def _data(file: TextIO | None) -> dict[str, Any]:
    if file is None:
        return {}
    try:
        found = json.load(file)
    except ValueError as error:
        raise click.UsageError(f"--data: is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise click.UsageError('--data: is not an object, such as {"name": "Ada"}')
    return found


def _pair(value: str) -> tuple[str, str]:
    name, equals, text = value.partition("=")
    if not equals:
        raise click.UsageError(f"--set: {value} is not NAME=TEXT")
    return name, text


def _tell(found: Mapping[str, Any], as_json: bool) -> int:
    if as_json:
        remote.out_json(found)
    else:
        version, published = found["version"], found["published"]
        uses = "mail uses it" if version == published else f"mail uses {_named(published)}"
        click.echo(f"{found['name']} version {version}; {uses}")
    return remote.DONE


def _named(published: int | None) -> str:
    return "none: floodgate templates publish" if published is None else f"version {published}"


def _print_parts(found: Mapping[str, Any]) -> None:
    given = [part for part in _PARTS if part in found]
    for part in given:
        if len(given) > 1:
            click.echo(f"--- {part}")
        click.echo(found[part])


def _row(template: Mapping[str, Any]) -> Sequence[object]:
    last = template["versions"][-1]
    return [
        template["name"],
        template.get("tenant"),
        template["published"],
        template["latest"],
        instant(last["created_at"]),
        last["created_by"],
    ]
