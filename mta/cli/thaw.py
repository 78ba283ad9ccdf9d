"""`floodgate thaw`: let the mail go on that `freeze` holds."""

import asyncio
from typing import Any

import click

from mta.cli import commands, remote
from mta.cli.follow import LOOK, WAIT
from mta.cli.rules import PAUSES, show_change, show_effect
from mta.http_out.api_client import ApiClient

_OTHER = ("mta", "ip", "mx", "tags_all", "except_tags", "tenant", "node")


@commands.command(help="Lift the pause of a tag, and wait until it holds nothing.")
@click.option("--tag", required=True)
@click.option("--domain", help="the pause with this domain too")
@click.option("--pool", help="the pause with this pool too")
@click.option("--json", "as_json", is_flag=True)
def command(as_json: bool, **selectors: str | None) -> None:
    remote.run(lambda client: thaw(client, remote.without_unset(**selectors), as_json))


async def thaw(client: ApiClient, selectors: dict[str, str], as_json: bool) -> int:
    """Disabled first and removed last: what is not there any more could not be asked how many it still holds."""
    pause = await _find(client, selectors)
    if pause is None:
        remote.say("there is no pause with exactly these selectors")
        return remote.FAILED
    path, asked = PAUSES.of(pause["id"]), [("wait", f"{WAIT:g}")]
    answer = await client.ask("PATCH", path, asked, {"enabled": False}, within=WAIT + 30.0)
    if not as_json:
        click.echo(f"pause {pause['id']}")
        show_effect(answer.body)
    if answer.status == 202:
        if as_json:
            remote.out_json(answer.body)
        remote.say("not effective everywhere yet; what it holds goes on by itself, and thaw may be repeated")
        return remote.NOT_YET
    await _until_empty(client, path, as_json)
    removed = await client.ask("DELETE", path, asked, within=WAIT + 30.0)
    show_change(removed.body, as_json, "removed ")
    return remote.DONE if removed.status != 202 else remote.NOT_YET


async def _find(client: ApiClient, selectors: dict[str, str]) -> dict[str, Any] | None:
    found, _ = await remote.pages(client, PAUSES.path, {**selectors, "enabled": "all"}, 0, True)
    absent = [name for name in ("domain", "pool") if name not in selectors]
    return next((pause for pause in found if not any(name in pause for name in (*absent, *_OTHER))), None)


async def _until_empty(client: ApiClient, path: str, silent: bool) -> None:
    told = None
    while held := (await client.ask("GET", path)).body["held"]:
        if held != told and not silent:
            click.echo(f"{held} still held", err=True)
        told = held
        await asyncio.sleep(LOOK)
