"""`floodgate webhooks`: endpoints of senders that are told what becomes of mail."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import click

from mta.cli import commands, remote
from mta.cli.listing import print_list
from mta.cli.options import ALL, AS_JSON, LIMIT
from mta.cli.tables import instant, print_fields
from mta.http_out.api_client import ApiClient
from mta.model.webhooks import WebhookEvent, When

_COLUMNS = ("id", "url", "state", "backlog", "oldest", "failures", "last failure", "reason")
_ID = click.argument("webhook_id", metavar="ID")


@commands.group(help="Webhooks: endpoints that are told what becomes of mail.")
def command() -> None:
    pass


@command.command(help="Make an endpoint and print its secret, which is never shown again.")
@click.argument("url", metavar="URL")
@click.option(
    "--event",
    "events",
    multiple=True,
    type=click.Choice([event.value for event in WebhookEvent]),
    help="Tell this type of event; may be repeated; default message:updated.",
)
@click.option(
    "--when",
    type=click.Choice([when.value for when in When]),
    help="final: how deliveries end, the default; every: each of their changes.",
)
@click.option("--tag", "tags", multiple=True, help="Only mail with this tag; may be repeated, and one suffices.")
@click.option("--tenant", help="Only mail of this tenant.")
@click.option("--description", help="For people.")
@click.option("--batch", type=click.IntRange(1, 1000), help="Most events in one request; default 1.")
@AS_JSON
def add(
    url: str, events: tuple[str, ...], tags: tuple[str, ...], batch: int | None, as_json: bool, **given: str | None
) -> None:
    body: dict[str, Any] = {"url": url, **remote.without_unset(**given, batch=batch)}
    body |= {name: list(items) for name, items in (("events", events), ("tags", tags)) if items}

    async def work(client: ApiClient) -> int:
        made = (await client.ask("POST", "/v1/webhooks", body=body)).body
        _print_secret(made, as_json)
        return remote.DONE

    remote.run(work)


@command.command("list", help="List the endpoints, and how they stand.")
@LIMIT
@ALL
@AS_JSON
def list_(limit: int, everything: bool, as_json: bool) -> None:
    async def work(client: ApiClient) -> int:
        webhooks, more = await remote.pages(client, "/v1/webhooks", {}, limit, everything, "webhooks")
        return print_list(webhooks, more, as_json, _COLUMNS, lambda one: list(_fields(one).values()))

    remote.run(work)


@command.command(help="Send an endpoint an event of the type webhook:test, and say what it answers.")
@_ID
@AS_JSON
def test(webhook_id: str, as_json: bool) -> None:
    async def work(client: ApiClient) -> int:
        found = (await client.ask("POST", f"{_path(webhook_id)}/test", within=330.0)).body
        if as_json:
            remote.out_json(found)
        elif found["delivered"]:
            click.echo(f"delivered: HTTP {found['status']}")
        else:
            remote.say(f"not delivered: {found['reason']}")
        return remote.DONE if found["delivered"] else remote.FAILED

    remote.run(work)


@command.command(help="Give an endpoint a new secret and print it; the old one signs along for 24 hours.")
@_ID
@AS_JSON
def rotate(webhook_id: str, as_json: bool) -> None:
    async def work(client: ApiClient) -> int:
        _print_secret((await client.ask("POST", f"{_path(webhook_id)}/rotate")).body, as_json)
        return remote.DONE

    remote.run(work)


@command.command(help="Enable an endpoint that is disabled; it goes on where it stopped.")
@_ID
@AS_JSON
def enable(webhook_id: str, as_json: bool) -> None:
    _order(webhook_id, "enable", None, as_json)


@command.command(help="Send the events of some time once more, beside those of now.")
@_ID
@click.option("--from", "since", required=True, help="Events at this time or later, in RFC 3339.")
@click.option("--until", help="Events before this time; default: now.")
@AS_JSON
def replay(webhook_id: str, since: str, until: str | None, as_json: bool) -> None:
    _order(webhook_id, "replay", {"from": since, **remote.without_unset(until=until)}, as_json)


@command.command(help="Remove an endpoint: it is told of nothing any more.")
@_ID
@AS_JSON
def remove(webhook_id: str, as_json: bool) -> None:
    async def work(client: ApiClient) -> int:
        gone = (await client.ask("DELETE", _path(webhook_id))).body
        remote.out_json(gone) if as_json else click.echo(f"removed {gone['id']}  {gone['url']}")
        return remote.DONE

    remote.run(work)


def _order(webhook_id: str, action: str, body: Mapping[str, Any] | None, as_json: bool) -> None:
    async def work(client: ApiClient) -> int:
        found = (await client.ask("POST", f"{_path(webhook_id)}/{action}", body=body)).body
        remote.out_json(found) if as_json else print_fields(_fields(found))
        return remote.DONE

    remote.run(work)


def _path(webhook_id: str) -> str:
    return f"/v1/webhooks/{quote(webhook_id, safe='')}"


def _print_secret(made: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        remote.out_json(made)
        return
    click.echo(made["secret"])
    remote.say(f"webhook {made['id']}; its secret is not shown again. To try it: floodgate webhooks test {made['id']}")


def _fields(webhook: Mapping[str, Any]) -> dict[str, object]:
    shown = (
        webhook["id"],
        webhook["url"],
        webhook["state"],
        webhook.get("backlog"),
        instant(webhook.get("oldest")),
        webhook.get("failures"),
        instant(webhook.get("last_failure")),
        webhook.get("reason"),
    )
    return dict(zip(_COLUMNS, shown, strict=True))
