"""`floodgate tail`: the delivery log while it is being written."""

import asyncio
from typing import Any

import click
import orjson

from mta.cli import commands, remote
from mta.cli.tables import cell
from mta.http_out.api_client import ApiAway, ApiClient

_RECONNECT = 1.0  # seconds
_PATIENCE = 5  # attempts in a row without one event, once there was a first stream


@commands.command(help="Follow the delivery log live.")
@click.option("--tag")
@click.option("--domain")
@click.option("--pool")
@click.option("--type", "types", multiple=True, help="Delivery, Intercepted, ... ; may be repeated")
@click.option("--limit", type=click.IntRange(1, 10_000), help="end after as many events")
@click.option("--json", "as_json", is_flag=True, help="lines as they are in the log")
def command(types: tuple[str, ...], limit: int | None, as_json: bool, **filters: str | None) -> None:
    params = [*remote.without_unset(**filters).items(), *(("type", name) for name in types)]

    async def work(client: ApiClient) -> int:
        return await follow(client, params, limit, as_json)

    remote.run(work)


async def follow(client: ApiClient, params: list[tuple[str, str]], limit: int | None, as_json: bool) -> int:
    """Print events until `limit` is reached; a broken stream is taken up where it broke. Raises ApiAway, ApiRefused."""
    last_id: str | None = None
    left, failures = limit, 0
    while left is None or left > 0:
        asked = params if left is None else [*params, ("limit", str(left))]
        try:
            async for event in client.events(asked, last_id):
                last_id, failures = event.id, 0
                click.echo(event.data if as_json else line_of(orjson.loads(event.data)))
                left = None if left is None else left - 1
        except ApiAway:
            failures += 1
            if last_id is None or failures > _PATIENCE:
                raise
        if left is None or left > 0:
            await asyncio.sleep(_RECONNECT)
    return remote.DONE


def line_of(event: dict[str, Any]) -> str:
    """One event on one line for a person."""
    reply = " ".join(str(event[name]) for name in ("code", "enhanced", "text") if event.get(name))
    parts = [event.get("time"), f"{event.get('type', '-'):<16}", event.get("id"), event.get("pool")]
    parts += [event.get("recipient"), event.get("mx"), reply or event.get("reason")]
    return "  ".join(cell(part) if index != 1 else str(part) for index, part in enumerate(parts) if part)
