"""`floodgate thaw`: release the mail that `freeze` holds."""

import asyncio
import contextlib
import ipaddress
import unicodedata
from collections.abc import Mapping
from typing import Any

import click

from mta.cli import commands, remote
from mta.cli.follow import LOOK, WAIT
from mta.cli.options import AS_JSON
from mta.cli.rules import PAUSES, show_change, show_effect
from mta.cli.selection import TAG, given, narrowing, options_of, recurring
from mta.http_out.api_client import ApiClient
from mta.model.errors import BadValue
from mta.model.units import format_time, parse_time
from mta.policy.addresses import comparable
from mta.policy.routing import queue_domain
from mta.policy.schedule import UTC, parse_schedule

_TIMES = ("accepted_before", "accepted_after")
_OTHERS = (
    "domain", "mta", "ip", "mx", "tags_all", "except_tags", "tenant", "sender", "recipient", *_TIMES,
    "schedule", "timezone",
)  # fmt: skip
_NAMED = 5  # pauses that one line names


@commands.command(help="Lift the pause with exactly these selectors, and wait until all held mail is released.")
@TAG
@narrowing
@recurring
@AS_JSON
def command(as_json: bool, **selectors: Any) -> None:
    remote.run(lambda client: thaw(client, given(selectors), as_json))


async def thaw(client: ApiClient, selectors: dict[str, Any], as_json: bool) -> int:
    """Disable the pause first and remove it last: a removed pause does not tell how many deliveries it still holds."""
    if "schedule" in selectors:
        selectors.setdefault("timezone", UTC)
    pause = await _find(client, {name: value for name, value in selectors.items() if value != "*"})
    if pause is None:
        remote.say(await _others(client, selectors["tag"]))
        return remote.FAILED
    path, asked = PAUSES.of(pause["id"]), [("wait", f"{WAIT:g}")]
    answer = await client.ask("PATCH", path, asked, {"enabled": False}, within=WAIT + 30.0)
    if not as_json:
        click.echo(f"pause {pause['id']}")
        show_effect(answer.body)
    if answer.status == 202:
        if as_json:
            remote.out_json(answer.body)
        remote.say(
            "not effective everywhere yet; the held mail is released without further orders, and thaw may be repeated"
        )
        return remote.NOT_YET
    await _until_empty(client, path, as_json)
    removed = await client.ask("DELETE", path, asked, within=WAIT + 30.0)
    show_change(removed.body, as_json, "removed ")
    return remote.DONE if removed.status != 202 else remote.NOT_YET


async def _find(client: ApiClient, selectors: Mapping[str, Any]) -> dict[str, Any] | None:
    asked = {name: selectors[name] for name in ("tag", "pool") if name in selectors}
    found, _ = await remote.pages(client, PAUSES.path, {**asked, "enabled": "all"}, 0, True)
    return next((pause for pause in found if _same(pause, selectors)), None)


def _same(pause: Mapping[str, Any], selectors: Mapping[str, Any]) -> bool:
    """Whether a pause that the API's filters let through has these selectors and no others."""
    return (
        "node" not in pause
        and ("pool" in pause) == ("pool" in selectors)  # the API compares it as it writes it
        and all(_plain(name, pause.get(name)) == _plain(name, selectors.get(name)) for name in _OTHERS)
    )


def _plain(name: str, value: Any) -> Any:
    """A selector's value in the form in which rules keep it."""
    if isinstance(value, list | tuple):
        found = sorted({_plain(name, one) for one in value})
        return found[0] if name == "domain" and len(found) == 1 else found
    if not isinstance(value, str):
        return value
    text = unicodedata.normalize("NFC", value.strip(" \t"))
    with contextlib.suppress(ValueError, BadValue):  # the text is none: no pause has it
        if name in ("mta", "ip"):
            return str(ipaddress.ip_address(text))
        if name in _TIMES:
            return format_time(parse_time(text, name, 0))
        if name == "schedule":
            return parse_schedule(text, name)
        if name == "domain":
            below, domain = ("*.", text[2:]) if text.startswith("*.") else ("", text)
            return below + queue_domain(domain)
    if name in ("sender", "recipient"):
        return comparable(text)
    return text.lower().rstrip(".") if name == "mx" else text


async def _others(client: ApiClient, tag: str) -> str:
    """That there is no such pause, and which the tag has."""
    found, _ = await remote.pages(client, PAUSES.path, {"tag": tag, "enabled": "all"}, 0, True)
    if not found:
        return f"there is no pause with tag {tag}"
    ways = [
        f"floodgate pauses remove {pause['id']}" if "node" in pause else f"floodgate thaw {options_of(pause)}"
        for pause in found[:_NAMED]
    ]
    more = f"; and {len(found) - _NAMED} more, see floodgate pauses list" if len(found) > _NAMED else ""
    return f"there is no pause with exactly these selectors; those of the tag are lifted by: {'; '.join(ways)}{more}"


async def _until_empty(client: ApiClient, path: str, silent: bool) -> None:
    told = None
    while held := (await client.ask("GET", path)).body["held"]:
        if held != told and not silent:
            click.echo(f"{held} still held", err=True)
        told = held
        await asyncio.sleep(LOOK)
