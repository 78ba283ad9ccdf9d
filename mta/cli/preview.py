"""The preview of an order as the commands show it: how many deliveries match, where they go, and how old they are."""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import click

from mta.cli import remote
from mta.cli.selection import SELECTORS
from mta.http_out.api_client import ApiClient
from mta.model.text import visible

_PATH: Final = "/v1/errors/preview"
_LOOK: Final = 0.2
_PATIENCE: Final = 10.0  # seconds that a question waits for the count
_PATIENCE_WHEN_KNOWN: Final = 2.0  # and for its domains, where the count is known
_NAMED: Final = 5  # domains, and pools, in one line


async def counted(
    client: ApiClient, body: Mapping[str, Any], patience: float, when_known: float | None = None
) -> dict[str, Any]:
    """The preview of an order, once all queues were walked, or as far as it is after `patience` seconds; after
    `when_known` seconds where its count is known from counters, and only domains, ages and the sample are not.

    Raises ApiAway, ApiRefused."""
    loop = asyncio.get_running_loop()
    until = loop.time() + patience
    preview: dict[str, Any] = (await client.ask("POST", _PATH, body=selecting_body(body))).body
    if when_known is not None and "preview_token" in preview:
        until = loop.time() + when_known
    while preview["state"] != "done" and loop.time() < until:
        await asyncio.sleep(_LOOK)
        preview = (await client.ask("GET", f"{_PATH}/{preview['id']}")).body
    return preview


def selecting_body(rule: Mapping[str, Any]) -> dict[str, Any]:
    """The selectors of an order or of a rule as the API showed it, as the body of a preview."""
    body = {name: rule[name] for name in (*SELECTORS, "cluster", "everything") if name in rule}
    return body if any(name in body for name in SELECTORS) else body | {"everything": True}


async def show_before_asking(client: ApiClient, rule: Mapping[str, Any]) -> None:
    """For a person who is about to be asked."""
    print_preview(await counted(client, rule, _PATIENCE, _PATIENCE_WHEN_KNOWN))


def print_preview(preview: Mapping[str, Any]) -> None:
    by = preview["by"]
    states = ", ".join(f"{count} {state}" for state, count in by["state"].items() if count)
    click.echo(f"{preview['matched']} deliveries match{f': {states}' if states else ''}")
    others = preview["domains"] - len(by["domain"])
    for noun, counts, more in (("domains", by["domain"], others), ("pools", by["pool"], 0)):
        if counts:
            named = list(counts.items())[:_NAMED]
            rest = len(counts) - len(named) + more
            words = ", ".join(f"{visible(name)} {count}" for name, count in named)
            click.echo(f"  {noun}: {words}{f', and {rest} more' if rest else ''}")
    if by["age"]:
        click.echo(f"  accepted: {', '.join(f'{count} {_ago(name)}' for name, count in by['age'].items())}")
    if preview["state"] != "done":
        seen = preview["progress"]["seen"]
        click.echo(f"  the count goes on: {seen} deliveries were looked at so far")
    for warning in preview["warnings"]:
        remote.say(warning)


def _ago(age: str) -> str:
    """`<1h` and `>=1d` in words."""
    bound = age.lstrip("<>=")
    return f"less than {bound} ago" if age.startswith("<") else f"{bound} ago or earlier"
